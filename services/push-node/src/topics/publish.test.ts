// Client publications: who may publish, how fast, under which id, and that everybody gets them like a producer's
// message.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import type { Frame, WsClient } from "@petrel/shared/testing/peers/ws-client";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { join, openNodeBench, range, type NodeBench } from "../testing/node-bench.js";
import type { PushNode } from "../testing/start-push-node.js";
import {
  openTopicBench,
  subscribed,
  tokenFor,
  untilOffset,
  type TopicBench,
} from "../testing/topic-bench.js";
import { keyedClientMessageId } from "./client-message-id.js";

let bench: NodeBench;
let topics: TopicBench;
let node: PushNode;
let directory: string;
let users = 0;

beforeAll(async () => {
  directory = mkdtempSync(joinPath(tmpdir(), "petrel-topics-"));
  const topicsFile = joinPath(directory, "topics.json");
  const rules = [
    { topics: "slow.*", clientPublish: true, publishPerUserPerSecond: 3 },
    { topics: "talk.*", clientPublish: true, publishPerUserPerSecond: 1_000 },
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

const all = { topic: "*", can: ["subscribe", "publish"] } as const;

async function talker(): Promise<{ readonly userId: string; readonly client: WsClient }> {
  const userId = `u${++users}`;
  return { userId, client: await join(node, userId, { token: tokenFor(userId, all) }) };
}

/** The answer to a publish. */
function answerOf(client: WsClient, ref: string): Promise<Frame> {
  return waitFor(
    () =>
      client.frames.find((one) => one["ref"] === ref && (one.type === "published" || one.type === "error")),
    { what: `the answer to ${ref}`, everyMs: 5 },
  );
}

test("a client's message reaches everyone, itself too, with its name, in one order with the others'", async () => {
  const [one, other] = await Promise.all([talker(), talker()]);
  for (const { client } of [one, other]) {
    client.send({ type: "subscribe", topic: "talk.1" });
    await subscribed(client, "talk.1");
  }
  one.client.send({ type: "publish", ref: "r1", topic: "talk.1", data: { text: "héllo" } });
  const published = await answerOf(one.client, "r1");
  expect(published).toEqual({
    type: "published",
    ref: "r1",
    id: expect.stringMatching(/^p\d+_[\w-]{22}$/) as string,
    topic: "talk.1",
    epoch: (await subscribed(one.client, "talk.1")).epoch,
    offset: 1,
    duplicate: false,
  });
  await topics.publish("talk.1", "a producer's");
  for (const { client } of [one, other]) {
    await untilOffset(client, "talk.1", 2);
    expect(client.topicMessages).toMatchObject([
      { id: published["id"], offset: 1, from: one.userId, data: { text: "héllo" } },
      { offset: 2, data: "a producer's" },
    ]);
    expect(client.topicMessages[1]).not.toHaveProperty("from");
  }
});

test("does not require subscribing", async () => {
  const { client } = await talker();
  client.send({ type: "publish", ref: "r", topic: "talk.2", data: null });
  expect(await answerOf(client, "r")).toMatchObject({ type: "published", offset: 1 });
});

describe("an idempotency key", () => {
  test("makes a resend the same message; other data is refused", async () => {
    const { client, userId } = await talker();
    const frame = { type: "publish", topic: "talk.key", data: { a: 1 }, idempotencyKey: "k1" };
    client.send({ ...frame, ref: "1" });
    const first = await answerOf(client, "1");
    client.send({ ...frame, ref: "2" });
    const { id, epoch, offset } = first;
    expect(await answerOf(client, "2")).toMatchObject({ id, epoch, offset, duplicate: true });
    client.send({ ...frame, ref: "3", data: { a: 2 } });
    expect(await answerOf(client, "3")).toMatchObject({
      code: "PETREL_IDEMPOTENCY_MISMATCH",
      on: "publish",
      action: "stop",
    });
    // Another user's key, and another topic's, are others.
    const other = await talker();
    other.client.send({ ...frame, ref: "4" });
    expect(await answerOf(other.client, "4")).toMatchObject({ duplicate: false });
    client.send({ ...frame, ref: "5", topic: "talk.key2" });
    expect(await answerOf(client, "5")).toMatchObject({ duplicate: false, offset: 1 });
    const { redis } = bench.store;
    const record = topics.keysOf("talk.key").record(String(id));
    expect(await redis.pttl(record)).toBeGreaterThan(24 * 3_600_000);
    expect(id).toBe(keyedClientMessageId(topics.keysOf("talk.key").partition, userId, "k1", "talk.key"));
  });

  test("without one there is no record", async () => {
    const { client } = await talker();
    client.send({ type: "publish", ref: "1", topic: "talk.free", data: 1 });
    const { id } = await answerOf(client, "1");
    expect(await bench.store.redis.exists(topics.keysOf("talk.free").record(String(id)))).toBe(0);
  });
});

describe("refused, and the connection stays", () => {
  const refused: [string, object, object][] = [
    ["if the rule does not allow it", { topic: "quiet" }, { code: "PETREL_FORBIDDEN" }],
    ["if the token does not", { topic: "talk.no" }, { code: "PETREL_FORBIDDEN" }],
    ["a broadcast", { topic: "$all" }, { code: "PETREL_INVALID_REQUEST" }],
    ["a bad name", { topic: "talk/1" }, { code: "PETREL_INVALID_REQUEST" }],
    ["an empty key", { idempotencyKey: "" }, { code: "PETREL_INVALID_REQUEST" }],
    ["a long key", { idempotencyKey: "k".repeat(257) }, { code: "PETREL_INVALID_REQUEST" }],
    ["65 KiB", { data: "x".repeat(65 * 1024) }, { code: "PETREL_PAYLOAD_TOO_LARGE" }],
    ["64 KiB in multibyte characters", { data: "ü".repeat(33_000) }, { code: "PETREL_PAYLOAD_TOO_LARGE" }],
    ["a long ref", { ref: "r".repeat(200) }, { code: "PETREL_INVALID_REQUEST", ref: "r".repeat(128) }],
    ["an empty ref", { ref: "" }, { code: "PETREL_INVALID_REQUEST", ref: "" }],
  ];
  test.each(refused)("%s", async (_name, more, error) => {
    const userId = `u${++users}`;
    const grant = { topic: "*", can: ["subscribe"] } as const;
    const grants = "topic" in more && more.topic === "talk.no" ? [grant] : [all];
    const client = await join(node, userId, { token: tokenFor(userId, ...grants) });
    client.send({ type: "publish", ref: "the-ref", topic: "talk.refused", data: 1, ...more });
    expect(await client.frame("error")).toMatchObject({ ref: "the-ref", on: "publish", ...error });
    client.send({ type: "ping" });
    await client.frame("pong");
    expect(client.closed()).toBeUndefined();
    client.close();
  });

  test("a number that is too large is refused instead of becoming null; null itself is accepted", async () => {
    const { client } = await talker();
    client.sendText('{"type":"publish","ref":"1","topic":"talk.large","data":{"a":[1e400]}}');
    expect(await answerOf(client, "1")).toMatchObject({ code: "PETREL_INVALID_REQUEST", on: "publish" });
    client.send({ type: "publish", ref: "2", topic: "talk.large", data: { a: [null] } });
    expect(await answerOf(client, "2")).toMatchObject({ type: "published", offset: 1 });
  });

  test("accepts exactly 64 KiB", async () => {
    const { client } = await talker();
    client.send({ type: "publish", ref: "r", topic: "talk.full", data: "x".repeat(64 * 1024 - 2) });
    expect(await answerOf(client, "r")).toMatchObject({ type: "published" });
  });

  test("too fast: the excess is refused with a wait; nothing of it is published", async () => {
    const { client } = await talker();
    for (const n of range(1, 10)) client.send({ type: "publish", ref: `r${n}`, topic: "slow.1", data: n });
    const answers = await Promise.all(range(1, 10).map((n) => answerOf(client, `r${n}`)));
    const refusals = answers.filter(({ type }) => type === "error");
    expect(refusals.length).toBeGreaterThanOrEqual(6);
    for (const one of refusals) {
      expect(one).toMatchObject({ code: "PETREL_RATE_LIMITED", action: "backoff", on: "publish" });
    }
    const { redis } = bench.store;
    expect(await redis.xlen(topics.keysOf("slow.1").topicLog("slow.1"))).toBe(10 - refusals.length);
  });
});

test("a missing answer is reported: with a key the message may be sent again", async () => {
  const broken = await bench.startNode({ topicsFile: joinPath(directory, "topics.json") });
  const run = broken.scripts.run.bind(broken.scripts);
  let isBroken = true;
  broken.scripts.run = async (name, keys, args) => {
    const answer = await run(name, keys, args);
    if (name === "publish-topic.v2" && isBroken) throw new Error("the answer is lost");
    return answer;
  };
  const client = await join(broken, "unlucky", { token: tokenFor("unlucky", all) });
  const frame = { type: "publish", topic: "talk.again", data: 1, idempotencyKey: "k" };
  client.send({ ...frame, ref: "1" });
  expect(await answerOf(client, "1")).toMatchObject({ code: "PETREL_UNAVAILABLE", action: "backoff" });
  isBroken = false;
  client.send({ ...frame, ref: "2" });
  expect(await answerOf(client, "2")).toMatchObject({ type: "published", duplicate: true, offset: 1 });
});
