// What a node has missed, on a real Redis: lost messages, lost links, trimmed logs, new epochs.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { join, openNodeBench, range, type NodeBench } from "../testing/node-bench.js";
import type { PushNode } from "../testing/start-push-node.js";
import {
  figure,
  framesOf,
  offsetsOf,
  openTopicBench,
  subscribed,
  tokenFor,
  untilOffset,
  type TopicBench,
} from "../testing/topic-bench.js";

let bench: NodeBench;
let topics: TopicBench;
let node: PushNode;
let directory: string;
let users = 0;

const SMALL = { size: 5 };

beforeAll(async () => {
  directory = mkdtempSync(joinPath(tmpdir(), "petrel-topics-"));
  const topicsFile = joinPath(directory, "topics.json");
  const rules = [
    { topics: "small.*", historySize: SMALL.size },
    { topics: "none.*", historySize: 0 },
    { topics: "short.*", historySeconds: 1 },
  ];
  writeFileSync(topicsFile, JSON.stringify({ rules }));
  bench = await openNodeBench();
  topics = openTopicBench(bench);
  node = await bench.startNode({ topicsFile });
});
afterAll(async () => {
  await bench.close();
  rmSync(directory, { recursive: true });
});

async function subscribe(topic: string, position: { epoch?: string; offset?: number } = {}, on = node) {
  const userId = `u${++users}`;
  const client = await join(on, userId, { token: tokenFor(userId, "*") });
  client.send({ type: "subscribe", topic, ...position });
  return { client, answer: await subscribed(client, topic) };
}

/** Checks every quiet topic. */
function look(): void {
  for (let i = 0; i < 4; i++) node.topics.follow.tick();
}

/** Until this node knows where a topic stands, and follows it. */
async function untilFollowing(topic: string): Promise<void> {
  await waitFor(() => node.topics.follow.topicOf(topic)?.isReady === true, {
    what: `${topic} to be followed`,
  });
}

async function beginGeneration(topic: string): Promise<void> {
  const { generation } = topics.keysOf(topic);
  await bench.store.redis.hset(generation, "replid", `another-${Math.random()}`);
}

describe("a message lost on its way", () => {
  test("comes from the log before the next one does", async () => {
    const { client } = await subscribe("gap");
    await topics.publish("gap", 1);
    await topics.publish("gap", 2, { isLost: true });
    await topics.publish("gap", 3, { isLost: true });
    await topics.publish("gap", 4);
    await untilOffset(client, "gap", 4);
    expect(offsetsOf(client, "gap")).toEqual([1, 2, 3, 4]);
    expect(framesOf(client, "gap").filter(({ type }) => type === "subscribed")).toHaveLength(1);
    expect(await figure(node, "petrel_topic_repairs_total", { outcome: "filled" })).toBeGreaterThan(0);
  });

  test("is found by the periodic check if no other follows; a topic that has moved is not checked", async () => {
    const { client } = await subscribe("last");
    await topics.publish("last", 1);
    await untilOffset(client, "last", 1);
    await topics.publish("last", 2, { isLost: true });
    let looks = 0;
    const run = node.scripts.run.bind(node.scripts);
    node.scripts.run = (name, keys, args) => {
      if (name === "look-at-topics.v1" && keys.some((key) => key.endsWith(":last"))) looks++;
      return run(name, keys, args);
    };
    for (let i = 0; i < 3; i++) node.topics.follow.tick();
    expect(looks).toBe(0);
    node.topics.follow.tick();
    expect(looks).toBe(1);
    await untilOffset(client, "last", 2);
    expect(offsetsOf(client, "last")).toEqual([1, 2]);
  });

  test("that has left the log meanwhile is reported with what is left, then live", async () => {
    const { client, answer } = await subscribe("small.hole");
    await topics.publish("small.hole", 1, { history: SMALL });
    await topics.publishRange("small.hole", 2, 20, { history: SMALL, isLost: true });
    await topics.publish("small.hole", 21, { history: SMALL });
    expect(await subscribed(client, "small.hole", 2)).toEqual({
      ...answer,
      offset: 21,
      oldest: 17,
      recovered: false,
    });
    await topics.publish("small.hole", 22, { history: SMALL });
    await untilOffset(client, "small.hole", 22);
    expect(offsetsOf(client, "small.hole")).toEqual([1, 22]);
    expect(await figure(node, "petrel_topic_repairs_total", { outcome: "lost" })).toBeGreaterThan(0);
    // What is kept is available.
    const back = await subscribe("small.hole", { epoch: answer.epoch, offset: 16 });
    expect(back.answer.recovered).toBe(false);
    const kept = await subscribe("small.hole", { epoch: answer.epoch, offset: 17 });
    expect(kept.answer).toMatchObject({ oldest: 18, recovered: true });
    await untilOffset(kept.client, "small.hole", 22);
    expect(offsetsOf(kept.client, "small.hole")).toEqual(range(18, 22));
  });
});

test("after a lost link, what was published meanwhile comes in order", async () => {
  const all = await Promise.all(range(1, 4).map((n) => subscribe(`cut.${n}`)));
  for (let round = 0; round < 3; round++) {
    const before = await figure(node, "petrel_topic_log_reads_total");
    const list = String(await bench.store.redis.call("CLIENT", "LIST"));
    const [, id = ""] = /^id=(\d+) .*name=petrel-push-node-topics /m.exec(list) ?? [];
    // One write: the messages are published before the link can be back.
    void bench.store.redis.call("CLIENT", "KILL", "ID", id);
    await Promise.all(range(1, 3).map((n) => topics.publish(`cut.${n}`, `lost ${round}`)));
    await Promise.all(all.slice(0, 3).map(({ client }, i) => untilOffset(client, `cut.${i + 1}`, round + 1)));
    // The fourth has missed nothing: it is looked at, not read.
    expect((await figure(node, "petrel_topic_log_reads_total")) - before).toBeLessThanOrEqual(3);
  }
  for (const n of range(1, 3))
    expect(offsetsOf(all[n - 1]?.client ?? never(), `cut.${n}`)).toEqual([1, 2, 3]);
  await topics.publish("cut.4", "live");
  await untilOffset(all[3]?.client ?? never(), "cut.4", 1);
});

function never(): never {
  throw new Error("no client");
}

describe("a new epoch", () => {
  test("is announced before its first message; if nothing was lost, nothing is missing", async () => {
    const { client, answer } = await subscribe("planned");
    await topics.publishRange("planned", 1, 3);
    await untilOffset(client, "planned", 3);
    await beginGeneration("planned");
    await topics.publish("planned", 4);
    await untilOffset(client, "planned", 4);
    const second = await subscribed(client, "planned", 2);
    expect(second).toMatchObject({ oldest: 1, recovered: true });
    expect(second.epoch).not.toBe(answer.epoch);
    expect(framesOf(client, "planned").map(({ type, offset }) => [type, offset])).toEqual([
      ["subscribed", 0],
      ...range(1, 3).map((n) => ["message", n]),
      ["subscribed", 4],
      ["message", 4],
    ]);
  });

  test("is found by the periodic check too", async () => {
    const { client, answer } = await subscribe("noticed");
    await topics.publish("noticed", 1);
    await untilOffset(client, "noticed", 1);
    await beginGeneration("noticed");
    look();
    const { epoch } = await subscribed(client, "noticed", 2);
    expect(epoch).not.toBe(answer.epoch);
  });

  test("with a lost tail: subscribers are told of the loss; the numbers go on under the new epoch", async () => {
    const { client } = await subscribe("tail");
    const { redis } = bench.store;
    const keys = topics.keysOf("tail");
    await topics.publishRange("tail", 1, 3);
    await untilOffset(client, "tail", 3);
    const saved = await Promise.all(
      [keys.topic("tail"), keys.topicLog("tail")].map((key) => redis.dumpBuffer(key)),
    );
    await topics.publishRange("tail", 4, 6);
    await untilOffset(client, "tail", 6);
    for (const [i, key] of [keys.topic("tail"), keys.topicLog("tail")].entries()) {
      await redis.restore(key, 0, saved[i] ?? "", "REPLACE");
    }
    await beginGeneration("tail");
    await topics.publish("tail", "anew");
    const second = await subscribed(client, "tail", 2);
    expect(second).toMatchObject({ offset: 4, recovered: false });
    await topics.publish("tail", "and on");
    await waitFor(() => framesOf(client, "tail").at(-1)?.["data"] === "and on", { what: "the next" });
    expect(offsetsOf(client, "tail")).toEqual([1, 2, 3, 4, 5, 6, 5]);
    // A client that stopped before the loss has lost nothing.
    const [first] = framesOf(client, "tail");
    const back = await subscribe("tail", { epoch: String(first?.["epoch"]), offset: 3 });
    expect(back.answer).toMatchObject({ epoch: second.epoch, offset: 5, recovered: true });
    await untilOffset(back.client, "tail", 5);
    expect(offsetsOf(back.client, "tail")).toEqual([4, 5]);
    const beyond = await subscribe("tail", { epoch: String(first?.["epoch"]), offset: 4 });
    expect(beyond.answer.recovered).toBe(false);
  });
});

describe("retention", () => {
  test("by number: `oldest` follows without a read", async () => {
    const first = await subscribe("small.count");
    await topics.publishRange("small.count", 1, 12, { history: SMALL });
    await untilOffset(first.client, "small.count", 12);
    const reads = await figure(node, "petrel_topic_log_reads_total");
    const late = await subscribe("small.count");
    expect(late.answer).toMatchObject({ offset: 12, oldest: 8 });
    const trimmed = await subscribe("small.count", { epoch: late.answer.epoch, offset: 6 });
    expect(trimmed.answer).toMatchObject({ recovered: false, oldest: 8 });
    const kept = await subscribe("small.count", { epoch: late.answer.epoch, offset: 7 });
    expect(kept.answer).toMatchObject({ recovered: true });
    await untilOffset(kept.client, "small.count", 12);
    expect(offsetsOf(kept.client, "small.count")).toEqual(range(8, 12));
    expect(await figure(node, "petrel_topic_log_reads_total")).toBe(reads);
  });

  test("by age: a message is gone when its time is over", async () => {
    const first = await subscribe("short.age");
    await topics.publish("short.age", 1, { history: { ageMs: 1_000 } });
    await untilOffset(first.client, "short.age", 1);
    expect((await subscribe("short.age")).answer.oldest).toBe(1);
    await waitFor(async () => (await subscribe("short.age")).answer.oldest === 2, { what: "its end" });
    const { epoch } = first.answer;
    expect((await subscribe("short.age", { epoch, offset: 0 })).answer.recovered).toBe(false);
    expect((await subscribe("short.age", { epoch, offset: 1 })).answer.recovered).toBe(true);
  });

  test("an expired message is skipped in a replay, and nothing is missing", async () => {
    const first = await subscribe("ttl");
    await topics.publish("ttl", 1, { ttlMs: 1 });
    await topics.publish("ttl", 2);
    await untilOffset(first.client, "ttl", 2);
    const { epoch } = first.answer;
    const nowMs = await bench.store.nowMs();
    await waitFor(async () => (await bench.store.nowMs()) > nowMs + 20, { what: "its end" });
    const back = await subscribe("ttl", { epoch, offset: 0 });
    expect(back.answer).toMatchObject({ recovered: true, oldest: 1, offset: 2 });
    await untilOffset(back.client, "ttl", 2);
    expect(offsetsOf(back.client, "ttl")).toEqual([2]);
  });

  test("without history: nothing is kept, live messages still come", async () => {
    const { client, answer } = await subscribe("none.kept");
    await topics.publishRange("none.kept", 1, 3, { history: { size: 0 } });
    await untilOffset(client, "none.kept", 3);
    const back = await subscribe("none.kept", { epoch: answer.epoch, offset: 2 });
    expect(back.answer).toMatchObject({ offset: 3, oldest: 4, recovered: false });
    expect((await subscribe("none.kept", { epoch: answer.epoch, offset: 3 })).answer.recovered).toBe(true);
    expect(node.topics.follow.topicOf("none.kept")?.ring.length).toBe(0);
  });
});

test("looks an unknown position up before it calls it lost", async () => {
  const { answer } = await subscribe("ahead");
  // Another node's clients were sent it, and one of them comes here.
  await topics.publish("ahead", 1, { isLost: true });
  const { client, answer: ahead } = await subscribe("ahead", { epoch: answer.epoch, offset: 1 });
  expect(ahead).toMatchObject({ offset: 1, recovered: true });
  await topics.publish("ahead", 2);
  await untilOffset(client, "ahead", 2);
  expect(offsetsOf(client, "ahead")).toEqual([2]);
});

test("lets go of an unused topic after some rounds, and can have it again", async () => {
  const { client } = await subscribe("leaving");
  const channel = `${topics.keysOf("leaving").topicChannel}leaving`;
  const listeners = async () =>
    (await bench.store.redis.call("PUBSUB", "SHARDNUMSUB", channel)) as [string, number];
  client.close();
  await waitFor(() => node.topics.follow.topicOf("leaving")?.members.length === 0, { what: "its end" });
  node.topics.follow.tick();
  expect(node.topics.follow.topicOf("leaving")).toBeDefined();
  for (let i = 0; i < 3; i++) node.topics.follow.tick();
  expect(node.topics.follow.topicOf("leaving")).toBeUndefined();
  await waitFor(async () => (await listeners())[1] === 0, { what: "the end of the subscription" });
  await topics.publish("leaving", 1);
  const again = await subscribe("leaving");
  expect(again.answer.offset).toBe(1);
  await untilFollowing("leaving");
  await topics.publish("leaving", 2);
  await untilOffset(again.client, "leaving", 2);
});
