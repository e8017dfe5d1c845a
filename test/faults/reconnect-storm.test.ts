// Flow: a push node is killed, and all its clients come to the other one at once.
// Guarantees: they are let in at the configured rate until all are in again; a refused client is told when to come
// back; clients that stay connected get every message in order.
import { connect, type PetrelClient } from "@petrel/client";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";
import { InOrderRecorder } from "../support/faults/in-order-recorder.js";
import { sized } from "../support/sizes.js";

const CROWD = sized(1_000, 80);
const STAYING = sized(20, 10);
const PER_SECOND = sized(100, 20);
/** Those of 50 ms. */
const BURST = PER_SECOND / 20;
const EVERY_MS = sized(20, 60);

let cluster: TestCluster;
const clients: PetrelClient<{ n: number }>[] = [];

beforeAll(async () => {
  cluster = await startCluster({
    together: (name) => name !== "push-node-1",
    environmentOf: (name): Record<string, string> =>
      // The node that will be killed lets its clients in fast.
      name === "push-node-2"
        ? { CONNECTS_PER_SECOND: String(PER_SECOND), CONNECT_WAIT_MS: "500" }
        : { CONNECTS_PER_SECOND: "5000" },
  });
});
afterAll(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await cluster.stop();
});

const retryAfters: (string | undefined)[] = [];
const statuses = new Map<number, number>();
/** Remembers how its handshake was refused, which the WebSocket interface hides. */
class WatchedSocket extends WebSocket {
  constructor(url: string, protocols: string[]) {
    super(url, protocols, { perMessageDeflate: false });
    this.on("unexpected-response", (request, response) => {
      const status = response.statusCode ?? 0;
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      if (status === 503) retryAfters.push(response.headers["retry-after"]);
      request.destroy();
      this.terminate();
    });
  }
}

test(`${CROWD} clients of a killed node come to the other one at once`, async () => {
  const [first = "", second = ""] = cluster.nodeUrls;
  const open = async (user: string, url: string | string[]): Promise<PetrelClient<{ n: number }>> => {
    const token = await cluster.tokenFor(user);
    const client = connect<{ n: number }>({
      url,
      getToken: () => token,
      WebSocket: WatchedSocket,
      // Every other attempt goes to the dead node: with the usual 30 s the last ones would take minutes.
      timing: { backoffCapMs: 2_000 },
    });
    client.on("error", () => undefined);
    clients.push(client);
    await client.whenOnline();
    return client;
  };
  const recorder = new InOrderRecorder(STAYING);
  const latenciesMs: number[] = [];
  const sentAtMs: number[] = [];
  for (let i = 0; i < STAYING; i++) {
    const client = await open(`staying-${i}`, second);
    client.on("message", ({ data: { n } }) => {
      recorder.received(i, n);
      latenciesMs.push(performance.now() - (sentAtMs[n] ?? 0));
    });
  }
  const crowd: PetrelClient<{ n: number }>[] = [];
  for (let start = 0; start < CROWD; start += 50) {
    const some = Array.from({ length: Math.min(50, CROWD - start) }, (_, i) =>
      open(`crowd-${start + i}`, [first, second]),
    );
    crowd.push(...(await Promise.all(some)));
  }
  let offline = 0;
  for (const client of crowd) client.on("offline", () => offline++);

  let isStorm = true;
  let sent = 0;
  const send = async (): Promise<void> => {
    while (isStorm) {
      const startMs = performance.now();
      sentAtMs[sent] = startMs;
      const messages = Array.from({ length: STAYING }, (_, i) => ({
        to: { user: `staying-${i}` },
        data: { n: sent },
      }));
      await cluster.post("/v1/messages/batch", { messages });
      sent++;
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS - (performance.now() - startMs)));
    }
  };
  const sending = send();

  const startMs = performance.now();
  cluster.nodes[0]?.signal("SIGKILL");
  await waitFor(() => offline === CROWD, { what: "the crowd to be offline" });
  await waitFor(() => crowd.every(({ state }) => state === "online"), {
    what: "the crowd to be online again",
    deadlineMs: 120_000,
  });
  const seconds = (performance.now() - startMs) / 1000;
  isStorm = false;
  await sending;
  await waitFor(() => recorder.counts().every((count) => count === sent) || recorder.problems.length > 0, {
    what: "the messages to those who stayed",
  });

  const sorted = latenciesMs.sort((a, b) => a - b);
  process.stdout.write(
    `${CROWD} clients back in ${seconds.toFixed(1)} s at ${PER_SECOND}/s, ${retryAfters.length} handshakes refused; ` +
      `to those who stayed p50 ${sorted[Math.floor(sorted.length / 2)]?.toFixed(1)} ms, ` +
      `p99 ${sorted[Math.floor(sorted.length * 0.99)]?.toFixed(1)} ms\n`,
  );
  // Holds on a slow machine too: at most so many can be in after so many seconds.
  expect(CROWD).toBeLessThanOrEqual(BURST + PER_SECOND * seconds);
  expect([...statuses.keys()]).toEqual([503]);
  expect(retryAfters.length).toBeGreaterThan(0);
  expect(retryAfters.filter((value) => !/^[1-9]\d*$/.test(value ?? ""))).toEqual([]);
  expect(recorder.problems).toEqual([]);
  expect(recorder.counts()).toEqual(Array.from({ length: STAYING }, () => sent));
}, 180_000);
