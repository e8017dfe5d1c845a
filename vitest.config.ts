import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: /^@petrel\/shared\/(.*)$/, replacement: `${at("shared/src")}/$1.ts` },
      { find: /^@petrel\/client$/, replacement: at("clients/browser/src/client.ts") },
    ],
  },
  test: {
    include: ["{shared,services/*,clients/*,deploy/local,bench}/src/**/*.test.ts", "test/**/*.test.ts"],
    // Fetches Redis where a machine has none, before any test is timed.
    globalSetup: ["shared/src/testing/prepare-redis.ts"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
  },
});
