// Tests the start of a cluster when another process takes a port between the check and its use.
import { once } from "node:events";
import { createServer } from "node:net";
import { afterAll, expect, test } from "vitest";
import { freePort } from "../free-port.js";
import { startCluster, type TestCluster } from "./start-cluster.js";

const somebody = createServer((socket) => socket.destroy());
let cluster: TestCluster | undefined;
afterAll(async () => {
  await cluster?.stop();
  somebody.close();
});

test("a process whose port is in use gets another one", async () => {
  const taken = await freePort();
  await once(somebody.listen(taken, "127.0.0.1"), "listening");
  let calls = 0;
  cluster = await startCluster({ nodes: 1, choosePort: async () => (calls++ === 0 ? taken : freePort()) });
  expect(calls).toBeGreaterThanOrEqual(4);
  expect(cluster.processes.map(({ name }) => name).sort()).toEqual([
    "auth",
    "collect",
    "dispatch-1",
    "push-node-1",
  ]);
  expect(cluster.processes.map(({ port }) => port)).not.toContain(taken);
  expect(cluster.processes.every((one) => one.isRunning())).toBe(true);
}, 120_000);
