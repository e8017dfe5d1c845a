// Tests that the services of test clusters and benches run on Node with the same arguments as everywhere.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { nodeArgumentsOf } from "../../kernel/node-arguments.js";
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
