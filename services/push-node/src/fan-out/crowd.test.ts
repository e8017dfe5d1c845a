// A crowd that returns to a topic, and slow sockets: what they cost the others, and that nothing is missing.
import { waitFor } from "@petrel/shared/testing/wait-for";
import type { WsClient } from "@petrel/shared/testing/peers/ws-client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { join, openNodeBench, range, type NodeBench } from "../testing/node-bench.js";
import { openRaw } from "../testing/raw-client.js";
import type { PushNode } from "../testing/start-push-node.js";
import {
  figure,
  offsetsOf,
  openTopicBench,
  subscribed,
  tokenFor,
  untilOffset,
  type TopicBench,
} from "../testing/topic-bench.js";

let bench: NodeBench;
let topics: TopicBench;

const CROWD = 150;

beforeAll(async () => {
  bench = await openNodeBench();
  topics = openTopicBench(bench);
});
afterAll(() => bench.close());

async function crowd(node: PushNode, count: number): Promise<WsClient[]> {
  const clients: WsClient[] = [];
  for (let i = 0; i < count; i += 25) {
    const some = range(i, Math.min(i + 25, count) - 1);
    clients.push(
      ...(await Promise.all(some.map((n) => join(node, `c${n}`, { token: tokenFor(`c${n}`, "*") })))),
    );
  }
  return clients;
}

async function epochOf(topic: string): Promise<string> {
  return (await bench.store.redis.hget(topics.keysOf(topic).topic(topic), "epoch")) ?? "";
}

test("a crowd that comes back to a new node costs one read, and all have everything", async () => {
  await topics.publishRange("crowd", 1, 60);
  const epoch = await epochOf("crowd");
  const node = await bench.startNode();
  const reads = async () => figure(node, "petrel_topic_log_reads_total");
  const before = await reads();
  const clients = await crowd(node, CROWD);
  for (const [i, client] of clients.entries()) {
    client.send({ type: "subscribe", topic: "crowd", epoch, offset: i % 60 });
    // Messages arrive meanwhile.
    if (i % 30 === 0) void topics.publish("crowd", 61 + i / 30);
  }
  await Promise.all(clients.map((client) => untilOffset(client, "crowd", 65)));
  expect((await reads()) - before).toBe(1);
  for (const [i, client] of clients.entries()) {
    expect((await subscribed(client, "crowd")).recovered).toBe(true);
    expect(offsetsOf(client, "crowd")).toEqual(range((i % 60) + 1, 65));
  }
  // Again, with the ring warm: none.
  for (const client of clients) client.send({ type: "unsubscribe", topic: "crowd" });
  for (const client of clients) client.send({ type: "subscribe", topic: "crowd", epoch, offset: 50 });
  await Promise.all(clients.map((client) => subscribed(client, "crowd", 2)));
  expect((await reads()) - before).toBe(1);
  const outcome = (name: string) => figure(node, "petrel_topic_recoveries_total", { outcome: name });
  expect((await outcome("log")) + (await outcome("ring"))).toBe(2 * CROWD);
  expect(await outcome("failed")).toBe(0);
});

test("a crowd that comes back to a node that follows the topic, but lacks its log, costs one read", async () => {
  await topics.publishRange("cold", 1, 40);
  const epoch = await epochOf("cold");
  const node = await bench.startNode();
  const [first, ...clients] = await crowd(node, 60);
  first?.send({ type: "subscribe", topic: "cold" });
  await subscribed(first ?? never(), "cold");
  const before = await figure(node, "petrel_topic_log_reads_total");
  for (const [i, client] of clients.entries()) {
    client.send({ type: "subscribe", topic: "cold", epoch, offset: i % 40 });
  }
  await Promise.all(clients.map((client) => untilOffset(client, "cold", 40)));
  expect((await figure(node, "petrel_topic_log_reads_total")) - before).toBe(1);
  for (const [i, client] of clients.entries())
    expect(offsetsOf(client, "cold")).toEqual(range((i % 40) + 1, 40));
  await topics.publish("cold", 41);
  await untilOffset(first ?? never(), "cold", 41);
  expect(offsetsOf(first ?? never(), "cold")).toEqual([41]);
});

test("a crowd of a foreign epoch costs one read too", async () => {
  await topics.publishRange("foreign", 1, 5);
  const node = await bench.startNode();
  const clients = await crowd(node, 60);
  clients[0]?.send({ type: "subscribe", topic: "foreign" });
  await subscribed(clients[0] ?? never(), "foreign");
  const before = await figure(node, "petrel_topic_log_reads_total");
  for (const client of clients.slice(1))
    client.send({ type: "subscribe", topic: "foreign", epoch: "old", offset: 3 });
  await Promise.all(
    clients.slice(1).map(async (client) => {
      expect((await subscribed(client, "foreign")).recovered).toBe(false);
    }),
  );
  expect((await figure(node, "petrel_topic_log_reads_total")) - before).toBeLessThanOrEqual(2);
});

function never(): never {
  throw new Error("no client");
}

test("without room in the ring, the log serves, and new messages still go out", async () => {
  const node = await bench.startNode({ topicRingBytes: 0 });
  const [client, back] = await crowd(node, 2);
  if (client === undefined || back === undefined) throw new Error("no clients");
  client.send({ type: "subscribe", topic: "ringless" });
  const { epoch } = await subscribed(client, "ringless");
  await topics.publishRange("ringless", 1, 30);
  await untilOffset(client, "ringless", 30);
  back.send({ type: "subscribe", topic: "ringless", epoch, offset: 3 });
  await untilOffset(back, "ringless", 30);
  expect(offsetsOf(back, "ringless")).toEqual(range(4, 30));
  expect(offsetsOf(client, "ringless")).toEqual(range(1, 30));
});

interface Held {
  readonly pause: () => void;
  readonly resume: () => void;
  readonly offsets: () => number[];
  /** About the topic. */
  readonly frames: () => Record<string, unknown>[];
  readonly close: () => void;
}

/** A client that can stop reading. */
async function holdable(node: PushNode, userId: string, topic: string): Promise<Held> {
  const raw = await openRaw({
    port: node.port,
    headers: { authorization: `Bearer ${tokenFor(userId, "*")}` },
  });
  const texts = () =>
    raw.frames().map(({ payload }) => JSON.parse(payload.toString()) as Record<string, unknown>);
  await waitFor(() => texts().some(({ type }) => type === "welcome"), { what: "the welcome" });
  raw.text({ type: "subscribe", topic });
  await waitFor(() => texts().some((frame) => frame["type"] === "subscribed" && frame["topic"] === topic), {
    what: "the subscription",
  });
  return {
    pause: () => void raw.socket.pause(),
    resume: () => void raw.socket.resume(),
    frames: () => texts().filter((frame) => frame["topic"] === topic),
    offsets: () =>
      texts()
        .filter((frame) => frame["type"] === "message" && frame["topic"] === topic)
        .map(({ offset }) => Number(offset)),
    close: () => void raw.socket.destroy(),
  };
}

test("a socket that reads nothing delays nobody, buffers a bounded number of bytes, and is told what it lost", async () => {
  const node = await bench.startNode({ outboundBoundBytes: 64 * 1024 });
  const slow = await holdable(node, "slow", "heavy");
  const [quick] = await crowd(node, 1);
  if (quick === undefined) throw new Error("no client");
  quick.send({ type: "subscribe", topic: "heavy" });
  await subscribed(quick, "heavy");
  slow.pause();
  const data = "x".repeat(50_000);
  const history = { size: 1_000, bytes: 64 * 1024 * 1024 };
  for (const n of range(1, 200)) await topics.publish("heavy", `${n} ${data}`, { history });
  await untilOffset(quick, "heavy", 200);
  const [connection] = node.registry.ofUser("slow");
  expect(connection?.waitingBytes).toBeLessThan(64 * 1024 + 512 * 1024);
  slow.resume();
  const isTold = (frame: Record<string, unknown>) => frame["recovered"] === false && frame["offset"] !== 0;
  await waitFor(() => slow.frames().some(isTold), { what: "the word of its loss", everyMs: 200 });
  await topics.publish("heavy", "last", { history });
  await waitFor(() => slow.offsets().at(-1) === 201, { what: "the last", deadlineMs: 20_000, everyMs: 200 });
  // What this node's rule keeps is less than what it lacked: it was told so, exactly where something is missing.
  let lastOffset = 0;
  for (const frame of slow.frames()) {
    if (frame["type"] === "message") expect(frame["offset"]).toBe(++lastOffset);
    else if (isTold(frame)) {
      expect(frame["oldest"]).toBeGreaterThan(lastOffset + 1);
      lastOffset = Number(frame["offset"]);
    }
  }
  expect(slow.offsets().length).toBeLessThan(201);
  slow.close();
});

test("one that is slow for a while has every message, once and in order", async () => {
  const node = await bench.startNode({ outboundBoundBytes: 64 * 1024 });
  const slow = await holdable(node, "slower", "steady");
  slow.pause();
  const data = "x".repeat(10_000);
  for (const n of range(1, 90)) await topics.publish("steady", `${n} ${data}`);
  slow.resume();
  for (const n of range(91, 95)) await topics.publish("steady", n);
  await waitFor(() => slow.offsets().length >= 95, { what: "all of them", deadlineMs: 20_000 });
  expect(slow.offsets()).toEqual(range(1, 95));
  slow.close();
});
