// What the client costs a page to load: its one-file build, minified and compressed.
// Guarantees: a page that loads it notices when it grows.
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";
import { expect, test } from "vitest";

const input = fileURLToPath(new URL("../../clients/browser/src/client.ts", import.meta.url));

const isOfTopics = (id: string): boolean => id.includes("/topics/");
/** What a page loads at once, and what only one that shares its connection loads. */
const isLater = (id: string): boolean => id.endsWith("/share-sockets.js");

/** @returns bytes, by gzip. @param without left out: what imports it stays */
async function sizeOf(without: (id: string) => boolean): Promise<number> {
  const external = { external: without };
  const bundle = await rolldown({ input, platform: "browser", ...external });
  try {
    const { output } = await bundle.generate({ format: "esm", minify: true, codeSplitting: false });
    return gzipSync(output[0].code, { level: 9 }).length;
  } finally {
    await bundle.close();
  }
}

test("the core, which connects, delivers and acknowledges, stays below 12 KB; with topics, below 17", async () => {
  const core = await sizeOf((id) => isOfTopics(id) || isLater(id));
  const whole = await sizeOf(isLater);
  expect(core).toBeLessThan(12 * 1024);
  expect(core).toBeGreaterThan(5 * 1024);
  expect(whole).toBeLessThan(17 * 1024);
});

test("what tabs need to share a connection stays below 8 KB", async () => {
  const shared = (await sizeOf(() => false)) - (await sizeOf(isLater));
  expect(shared).toBeLessThan(8.25 * 1024);
  expect(shared).toBeGreaterThan(2 * 1024);
});
