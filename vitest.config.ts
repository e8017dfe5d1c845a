import { fileURLToPath } from "node:url";
import { defineConfig, type TestProjectConfiguration } from "vitest/config";
import { furtherServers, isInstalled } from "./shared/src/testing/redis/further-servers.js";

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

const resolve = {
  alias: [
    { find: /^@petrel\/shared\/(.*)$/, replacement: `${at("shared/src")}/$1.ts` },
    { find: /^@petrel\/client$/, replacement: at("clients/browser/src/client.ts") },
  ],
};

/** What every project has. */
const common = {
  // Fetches Redis where a machine has none, before any test is timed.
  globalSetup: [at("shared/src/testing/redis/prepare-redis.ts")],
  testTimeout: 30_000,
  hookTimeout: 60_000,
};

/** What Redis itself decides: repeated on each further server. */
const onEachServer = [
  "shared/src/redis/**/*.test.ts",
  "test/faults/redis/redis-restart.test.ts",
  "test/faults/redis/redis-cluster-failover.test.ts",
  "test/faults/redis/redis-sentinel-failover.test.ts",
  "test/faults/redis/redis-planned-failover.test.ts",
];
/** In `npm run test:full`: the other fault flows, and what stands closest to the stores. */
const onEachServerInFull = [
  "services/{collect,dispatch,push-node}/src/**/*.test.ts",
  "test/faults/{cut-link,dispatcher-takeover,kill-services,paused-node,rolling-restart}.test.ts",
  "test/faults/redis/redis-full.test.ts",
  "test/flows/{erase-person,offline-and-resume,revocation-redis-cluster}.test.ts",
  "test/{phones/fallback,edge/redis-tls}.test.ts",
];

/**
 * PETREL_TEST_SERVERS, which `npm test` sets: `installed` repeats on what is there, `required` fails without all of
 * them. Unset, as for a single file by hand, nothing is repeated.
 */
function furtherProjects(): TestProjectConfiguration[] {
  const asked = process.env["PETREL_TEST_SERVERS"];
  if (asked === undefined || asked === "") return [];
  const missing = furtherServers.filter((server) => !isInstalled(server)).map(({ name }) => name);
  if (missing.length > 0) {
    const line = `not installed, left out: ${missing.join(", ")} (npm run test:install-servers)`;
    if (asked === "required") throw new Error(line);
    process.stdout.write(`\ntests on further servers: ${line}\n\n`);
  }
  const include =
    process.env["PETREL_TEST_SIZE"] === "full" ? [...onEachServer, ...onEachServerInFull] : onEachServer;
  return furtherServers.filter(isInstalled).map(({ name }) => ({
    resolve,
    test: { ...common, name, include, env: { PETREL_TEST_REDIS_SERVER: name } },
  }));
}

export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      {
        resolve,
        test: {
          ...common,
          name: "all",
          include: ["{shared,services/*,clients/*,deploy/local,bench}/src/**/*.test.ts", "test/**/*.test.ts"],
        },
      },
      ...furtherProjects(),
    ],
  },
});
