// What the client costs a page to load: its one-file build, minified and compressed.
// Guarantees: a page that loads it notices when it grows.
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";
import { expect, test } from "vitest";

const input = fileURLToPath(new URL("../../clients/browser/src/client.ts", import.meta.url));

/** @returns bytes, by gzip. @param without left out: what imports it stays */
async function sizeOf(without?: RegExp): Promise<number> {
  const external = without === undefined ? {} : { external: (id: string) => without.test(id) };
  const bundle = await rolldown({ input, platform: "browser", ...external });
  try {
    const { output } = await bundle.generate({ format: "esm", minify: true });
    return gzipSync(output[0].code, { level: 9 }).length;
  } finally {
    await bundle.close();
  }
}

test("the core, which connects, delivers and acknowledges, stays below 12 KB; with the rest, below 17", async () => {
  const core = await sizeOf(/\/topics\//);
  const whole = await sizeOf();
  expect(core).toBeLessThan(12 * 1024);
  expect(core).toBeGreaterThan(5 * 1024);
  expect(whole).toBeLessThan(17 * 1024);
});
