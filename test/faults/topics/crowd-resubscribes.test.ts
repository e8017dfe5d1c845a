// Flow: a node is killed, and all subscribers of its topic come to the other one, each with its own position.
// Guarantees: the crowd costs one read of the topic's log, whatever its size; each gets what it lacks; the p99 of single
// messages meanwhile is printed.
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { freePort } from "@petrel/shared/testing/free-port";
import { connectClient, openClient, type WsClient } from "@petrel/shared/testing/peers/ws-client";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { sized } from "../../support/sizes.js";

const CROWD = sized(10_000, 300);
/** Connections of one user. */
const PER_USER = 100;
const KEPT = 40;
const TOPIC = "arena";

let cluster: TestCluster;
let metricsPort: number;
const clients: WsClient[] = [];
beforeAll(async () => {
  metricsPort = await freePort();
  cluster = await startCluster({
    together: (name) => !name.startsWith("push-node"),
    nodes: 2,
    environment: {
      MAX_CONNECTIONS_PER_USER: String(2 * PER_USER),
      CONNECTS_PER_SECOND: "20000",
      CONNECTS_PER_ADDRESS_PER_MINUTE: "0",
      CONNECTS_PER_USER_PER_MINUTE: "0",
    },
    environmentOf: (name): Record<string, string> =>
      name === "push-node-2" ? { METRICS_PORT: String(metricsPort) } : {},
  });
});
afterAll(async () => {
  for (const { socket } of clients) socket.terminate();
  await cluster.stop();
});

const countReads = async (): Promise<number> => {
  const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  return Number(/^petrel_topic_log_reads_total(?:\{.*\})? (\d+)$/m.exec(text)?.[1] ?? Number.NaN);
};

const publish = (n: number) => cluster.post("/v1/messages", { to: { topic: TOPIC }, data: { n } });

test(`${CROWD} subscribers of a killed node resubscribe`, async () => {
  const [first = "", second = ""] = cluster.nodeUrls;
  const tokens = await Promise.all(
    Array.from({ length: Math.ceil(CROWD / PER_USER) }, (_, i) => cluster.tokenFor(`fan-${i}`, [TOPIC])),
  );
  const tokenOf = (i: number): string => tokens[Math.floor(i / PER_USER)] ?? "";
  const join = async (url: string, frameOf: (i: number) => object): Promise<WsClient[]> => {
    const joined: WsClient[] = [];
    for (let start = 0; start < CROWD; start += 200) {
      const some = Array.from({ length: Math.min(200, CROWD - start) }, (_, j) => {
        const client = openClient({ url, token: tokenOf(start + j) });
        client.socket.on("open", () => client.send(frameOf(start + j)));
        return client;
      });
      joined.push(...some);
      clients.push(...some);
      await waitFor(() => some.every(isIn), { what: "200 more to be subscribed", deadlineMs: 60_000 });
    }
    return joined;
  };

  for (let n = 1; n <= KEPT; n++) await publish(n);
  const before = await join(first, () => ({ type: "subscribe", topic: TOPIC }));
  const epoch = String(subscribedFrame(before[0])?.["epoch"]);
  const watcher = await connectClient({ url: second, token: await cluster.tokenFor("watcher"), ack: "each" });
  clients.push(watcher);
  const readsBefore = await countReads();

  cluster.nodes[0]?.signal("SIGKILL");
  await waitFor(() => before.every(({ closed }) => closed() !== undefined), {
    what: "all to have lost their node",
    deadlineMs: 60_000,
  });
  const singles = sendWhile(() => isStorm);
  let isStorm = true;
  // Some lack all that is kept, some nothing.
  const positionOf = (i: number): number => i % (KEPT + 1);
  const after = await join(second, (i) => ({
    type: "subscribe",
    topic: TOPIC,
    epoch,
    offset: positionOf(i),
  }));
  isStorm = false;
  const latenciesMs = await singles;
  await publish(KEPT + 1);
  const expected = (i: number): number => KEPT + 1 - positionOf(i);
  await waitFor(() => after.every(({ topicMessages }, i) => topicMessages.length >= expected(i)), {
    what: "everybody to have everything",
    deadlineMs: 60_000,
  });
  for (const [i, client] of after.entries()) {
    expect(subscribedFrame(client)).toMatchObject({ recovered: true, epoch, offset: KEPT });
    const from = positionOf(i) + 1;
    expect(client.topicMessages.map(({ offset }) => offset)).toEqual(
      Array.from({ length: expected(i) }, (_, j) => from + j),
    );
  }
  const reads = (await countReads()) - readsBefore;
  const sorted = latenciesMs.toSorted((a, b) => a - b);
  const p99Ms = sorted[Math.floor(sorted.length * 0.99)] ?? 0;
  process.stdout.write(
    `crowd: ${CROWD} came back, the log was read ${reads} times; ` +
      `${sorted.length} single messages meanwhile, p99 ${p99Ms.toFixed(1)} ms\n`,
  );
  expect(reads).toBeLessThanOrEqual(1);

  async function sendWhile(isOn: () => boolean): Promise<number[]> {
    const measuredMs: number[] = [];
    do {
      const startMs = performance.now();
      const count = watcher.messages.length;
      await cluster.post("/v1/messages", { to: { user: "watcher" }, data: 1 });
      await watcher.untilMessages(count + 1, 60_000);
      measuredMs.push(performance.now() - startMs);
    } while (isOn());
    return measuredMs;
  }
}, 280_000);

function subscribedFrame(client: WsClient | undefined) {
  return client?.frames.find((frame) => frame.type === "subscribed" && frame["topic"] === TOPIC);
}

function isIn(client: WsClient): boolean {
  const closed = client.closed();
  if (closed !== undefined) throw new Error(`closed: ${closed.code} ${closed.reason}`);
  return subscribedFrame(client) !== undefined;
}
