// Tests the start of a cluster where somebody else takes a port between the look at it and its use.
import { createServer } from "node:net";
import { once } from "node:events";
import { afterAll, expect, test, vi } from "vitest";
import { freePort } from "../free-port.js";
import { startCluster, type TestCluster } from "./start-cluster.js";

const taken = createServer((socket) => socket.destroy());
vi.mock("../free-port.js", { spy: true });

let cluster: TestCluster | undefined;
afterAll(async () => {
  await cluster?.stop();
  taken.close();
});

test("a process whose port is taken gets another one", async () => {
  const port = await freePort();
  await once(taken.listen(port, "127.0.0.1"), "listening");
  const redisAndAuth = [await freePort(), await freePort()];
  for (const one of [...redisAndAuth, port]) vi.mocked(freePort).mockResolvedValueOnce(one);
  cluster = await startCluster({ nodes: 1 });
  expect(cluster.processes.map(({ name }) => name).sort()).toEqual([
    "auth",
    "collect",
    "dispatch-1",
    "push-node-1",
  ]);
  expect(cluster.processes.map((one) => one.port)).not.toContain(port);
  expect(cluster.processes.every((one) => one.isRunning())).toBe(true);
}, 120_000);
