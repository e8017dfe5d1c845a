// Tests that the services of test clusters and benches run on Node with the same arguments as everywhere.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { nodeArgumentsOf } from "../../kernel/node-arguments.js";
import { nodeArgumentsOfRelease } from "./release-arguments.js";
import { startCluster } from "./start-cluster.js";

test("collect is started with its arguments for Node", async (context) => {
  if (process.platform !== "linux") return context.skip("left out: reads /proc/PID/cmdline");
  const cluster = await startCluster({ nodes: 0, dispatchers: 0 });
  try {
    const words = readFileSync(`/proc/${cluster.collect.pid}/cmdline`, "utf8").split("\0");
    expect(nodeArgumentsOf("collect")).not.toEqual([]);
    expect(words).toEqual(expect.arrayContaining([...nodeArgumentsOf("collect")]));
  } finally {
    await cluster.stop();
  }
});

test("another release's services get what that release names", async () => {
  const release = mkdtempSync(join(tmpdir(), "petrel-release-"));
  try {
    expect(await nodeArgumentsOfRelease(release, "collect")).toEqual([]);
    mkdirSync(join(release, "shared/dist/kernel"), { recursive: true });
    writeFileSync(join(release, "package.json"), '{"type":"module"}');
    const source = "export const nodeArgumentsOf = (service) => [`--title=${service}`];";
    writeFileSync(join(release, "shared/dist/kernel/node-arguments.js"), source);
    expect(await nodeArgumentsOfRelease(release, "collect")).toEqual(["--title=collect"]);
  } finally {
    rmSync(release, { recursive: true });
  }
});
