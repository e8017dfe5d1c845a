// Subscribing on real sockets: the answers, what follows, and what a client is told about its mistakes.
import { connectClient } from "@petrel/shared/testing/peers/ws-client";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { join, openNodeBench, range, type NodeBench } from "../testing/node-bench.js";
import type { PushNode } from "../testing/start-push-node.js";
import {
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
let users = 0;

beforeAll(async () => {
  bench = await openNodeBench();
  topics = openTopicBench(bench);
  node = await bench.startNode({ maxTopicsPerConnection: 5 });
});
afterAll(() => bench.close());

const joinWith = (...grants: Parameters<typeof tokenFor>[1][]) => {
  const userId = `u${++users}`;
  return join(node, userId, { token: tokenFor(userId, ...grants) });
};

describe("subscribing", () => {
  test("from the newest on: nothing earlier, everything later", async () => {
    await topics.publishRange("from-newest", 1, 3);
    const client = await joinWith("from-*");
    client.send({ type: "subscribe", topic: "from-newest" });
    const answer = await subscribed(client, "from-newest");
    expect(answer).toEqual({
      type: "subscribed",
      topic: "from-newest",
      epoch: expect.any(String) as string,
      offset: 3,
      oldest: 1,
      recovered: false,
    });
    await topics.publishRange("from-newest", 4, 6);
    await untilOffset(client, "from-newest", 6);
    expect(framesOf(client, "from-newest").slice(1)).toMatchObject(
      range(4, 6).map((n) => ({ type: "message", topic: "from-newest", offset: n, data: n })),
    );
    expect(Object.keys(client.topicMessages[0] ?? {})).toEqual([
      "type",
      "id",
      "topic",
      "offset",
      "at",
      "data",
    ]);
    client.close();
  });

  test("from a position: what was missed, then what comes, each once", async () => {
    const first = await joinWith("back");
    first.send({ type: "subscribe", topic: "back" });
    const { epoch } = await subscribed(first, "back");
    await topics.publishRange("back", 1, 10);
    const client = await joinWith("back");
    client.send({ type: "subscribe", topic: "back", epoch, offset: 4 });
    expect(await subscribed(client, "back")).toMatchObject({ offset: 10, oldest: 1, recovered: true });
    await topics.publishRange("back", 11, 12);
    await untilOffset(client, "back", 12);
    expect(offsetsOf(client, "back")).toEqual(range(5, 12));
    await untilOffset(first, "back", 12);
    expect(offsetsOf(first, "back")).toEqual(range(1, 12));
  });

  test("a topic that was never used has an epoch, and begins at one", async () => {
    const client = await joinWith("*");
    client.send({ type: "subscribe", topic: "never.used" });
    expect(await subscribed(client, "never.used")).toMatchObject({ offset: 0, oldest: 1, recovered: false });
    client.close();
  });

  test("a foreign epoch, or an offset beyond the newest: no error, not recovered, live from there", async () => {
    await topics.publishRange("odd", 1, 3);
    const client = await joinWith("odd");
    client.send({ type: "subscribe", topic: "odd", epoch: "another", offset: 1 });
    const { epoch } = await subscribed(client, "odd");
    expect(await subscribed(client, "odd")).toMatchObject({ offset: 3, recovered: false });
    client.send({ type: "subscribe", topic: "odd", epoch, offset: 9 });
    expect(await subscribed(client, "odd", 2)).toMatchObject({ offset: 3, recovered: false });
    await topics.publish("odd", 4);
    await untilOffset(client, "odd", 4);
    expect(offsetsOf(client, "odd")).toEqual([4]);
    expect(client.frames.some(({ type }) => type === "error")).toBe(false);
  });

  test("again with a position: replayed from there; again without one: only the answer", async () => {
    const client = await joinWith("again");
    client.send({ type: "subscribe", topic: "again" });
    const { epoch } = await subscribed(client, "again");
    await topics.publishRange("again", 1, 4);
    await untilOffset(client, "again", 4);
    client.send({ type: "subscribe", topic: "again", epoch, offset: 2 });
    expect(await subscribed(client, "again", 2)).toMatchObject({ offset: 4, recovered: true });
    await waitFor(() => offsetsOf(client, "again").length === 6, { what: "the replay" });
    client.send({ type: "subscribe", topic: "again" });
    expect(await subscribed(client, "again", 3)).toMatchObject({ offset: 4, oldest: 1, recovered: false });
    await topics.publish("again", 5);
    await untilOffset(client, "again", 5);
    expect(offsetsOf(client, "again")).toEqual([1, 2, 3, 4, 3, 4, 5]);
  });

  test("leaving: answered once each, nothing after it; leaving an unsubscribed topic is answered too", async () => {
    const [client, other] = [await joinWith("leave"), await joinWith("leave")];
    for (const one of [client, other]) {
      one.send({ type: "subscribe", topic: "leave" });
      await subscribed(one, "leave");
    }
    client.send({ type: "unsubscribe", topic: "leave" });
    client.send({ type: "unsubscribe", topic: "leave" });
    await waitFor(() => framesOf(client, "leave").length === 3, { what: "both answers" });
    await topics.publish("leave", 1);
    await untilOffset(other, "leave", 1);
    client.send({ type: "ping" });
    await client.frame("pong");
    expect(framesOf(client, "leave").slice(1)).toEqual([
      { type: "unsubscribed", topic: "leave" },
      { type: "unsubscribed", topic: "leave" },
    ]);
    expect(node.topics.follow.topicOf("leave")?.members).toHaveLength(1);
  });

  test("many in one frame: one answer each, in order, including refused ones", async () => {
    const client = await joinWith("many.*");
    client.send({
      type: "subscribe",
      topics: [
        { topic: "many.1" },
        { topic: "bad name" },
        { topic: "other" },
        { topic: "many.2", epoch: "e" },
        { topic: "many.3", epoch: "x", offset: 1 },
      ],
    });
    client.send({ type: "unsubscribe", topics: [{ topic: "many.3" }, { topic: "$all" }] });
    await waitFor(() => client.frames.length >= 9, { what: "all answers" });
    expect(client.frames.slice(2)).toMatchObject([
      { type: "subscribed", topic: "many.1" },
      { type: "error", code: "PETREL_INVALID_REQUEST", ref: "bad name", on: "subscribe" },
      { type: "error", code: "PETREL_FORBIDDEN", ref: "other", on: "subscribe" },
      { type: "error", code: "PETREL_INVALID_REQUEST", ref: "many.2", on: "subscribe" },
      { type: "subscribed", topic: "many.3", recovered: false },
      { type: "unsubscribed", topic: "many.3" },
      { type: "error", code: "PETREL_CONFLICT", ref: "$all", on: "unsubscribe" },
    ]);
  });

  test("subscribe and unsubscribe in one turn, again and again: in order, and the last one counts", async () => {
    const client = await joinWith("race");
    for (let i = 0; i < 20; i++) {
      client.send({ type: "subscribe", topic: "race" });
      client.send({ type: "unsubscribe", topic: "race" });
    }
    client.send({ type: "subscribe", topic: "race" });
    await waitFor(() => framesOf(client, "race").length === 41, { what: "41 answers" });
    expect(framesOf(client, "race").map(({ type }) => type)).toEqual(
      range(0, 40).map((i) => (i % 2 === 0 ? "subscribed" : "unsubscribed")),
    );
    await topics.publish("race", 1);
    await untilOffset(client, "race", 1);
  });
});

describe("mistakes do not close the connection", () => {
  test.each([
    [
      { type: "subscribe", topic: "" },
      { code: "PETREL_INVALID_REQUEST", ref: "", on: "subscribe" },
    ],
    [
      { type: "subscribe", topic: "a b" },
      { code: "PETREL_INVALID_REQUEST", ref: "a b", on: "subscribe" },
    ],
    [
      { type: "subscribe", topic: "t".repeat(129) },
      { code: "PETREL_INVALID_REQUEST", ref: "t".repeat(128), on: "subscribe" },
    ],
    [
      { type: "subscribe", topic: `t${"🐦".repeat(64)}` },
      { code: "PETREL_INVALID_REQUEST", ref: `t${"🐦".repeat(63)}`, on: "subscribe" },
    ],
    [
      { type: "subscribe", topic: "ok", epoch: "e", offset: 1.5 },
      { code: "PETREL_INVALID_REQUEST", ref: "ok", on: "subscribe" },
    ],
    [
      { type: "subscribe", topic: "ok", epoch: "e", offset: -1 },
      { code: "PETREL_INVALID_REQUEST", ref: "ok", on: "subscribe" },
    ],
    [
      { type: "subscribe", topic: "ok", offset: 1 },
      { code: "PETREL_INVALID_REQUEST", ref: "ok" },
    ],
    [
      { type: "subscribe", topic: "foreign" },
      { code: "PETREL_FORBIDDEN", ref: "foreign", action: "stop" },
    ],
    [
      { type: "subscribe", topic: "ok", presence: true },
      { code: "PETREL_FORBIDDEN", ref: "ok" },
    ],
    [
      { type: "subscribe", topic: "$all", presence: true },
      { code: "PETREL_FORBIDDEN", ref: "$all" },
    ],
    [
      { type: "subscribe", topics: [] },
      { code: "PETREL_INVALID_REQUEST", ref: "", on: "subscribe" },
    ],
    [
      { type: "unsubscribe", topics: range(1, 101).map((n) => ({ topic: `ok.${n}` })) },
      { code: "PETREL_TOO_MANY_TOPICS", ref: "ok.1", on: "unsubscribe" },
    ],
    [
      { type: "unsubscribe", topic: "a/b" },
      { code: "PETREL_INVALID_REQUEST", on: "unsubscribe" },
    ],
    [
      { type: "unsubscribe", topic: "$all" },
      { code: "PETREL_CONFLICT", ref: "$all", on: "unsubscribe" },
    ],
  ])("%j", async (frame, error) => {
    const client = await joinWith("ok", "ok.*");
    client.send(frame);
    expect(await client.frame("error")).toMatchObject(error);
    client.send({ type: "ping" });
    await client.frame("pong");
    expect(client.closed()).toBeUndefined();
    expect(framesOf(client, "ok")).toEqual([]);
    client.close();
  });

  test("without a claim only `$all` may be subscribed", async () => {
    const client = await join(node, "nobody");
    client.send({ type: "subscribe", topic: "anything" });
    expect(await client.frame("error")).toMatchObject({ code: "PETREL_FORBIDDEN", ref: "anything" });
    const { epoch, offset } = await subscribed(client, "$all");
    client.send({ type: "subscribe", topic: "$all", epoch, offset });
    expect(await subscribed(client, "$all", 2)).toMatchObject({ recovered: true });
  });

  test("refuses one topic too many, but not one it already has", async () => {
    const client = await joinWith("n*");
    client.send({ type: "subscribe", topics: range(1, 6).map((n) => ({ topic: `n${n}` })) });
    expect(await client.frame("error")).toMatchObject({ code: "PETREL_TOO_MANY_TOPICS", ref: "n6" });
    client.send({ type: "subscribe", topic: "n3" });
    await subscribed(client, "n3", 2);
    client.send({ type: "unsubscribe", topic: "n1" });
    client.send({ type: "subscribe", topic: "n6" });
    await subscribed(client, "n6");
  });
});

describe("`$all`", () => {
  test("comes unasked after welcome, in the same write, and carries broadcasts", async () => {
    const client = await join(node, "everyone");
    expect(client.frames.slice(0, 2)).toMatchObject([
      { type: "welcome", features: ["ack", "resume", "topics", "publish"] },
      { type: "subscribed", topic: "$all", recovered: false },
    ]);
    const offset = await topics.publish("$all", "hello");
    expect(await untilOffset(client, "$all", offset)).toMatchObject({ data: "hello", offset });
  });

  test("is resumed through the query", async () => {
    const first = await join(node, "resumes");
    const { epoch, offset } = await subscribed(first, "$all");
    first.close();
    await topics.publish("$all", "missed");
    const client = await connectClient({
      url: node.url,
      token: "user.resumes",
      query: `all=${epoch}:${offset}`,
    });
    expect(await subscribed(client, "$all")).toMatchObject({ offset: offset + 1, recovered: true });
    expect(await untilOffset(client, "$all", offset + 1)).toMatchObject({ data: "missed" });
  });
});

test("a frame of many topics counts as several frames, not as one and not as one each", async () => {
  const limited = await bench.startNode({ framesPerUserPerSecond: 30 });
  const client = await join(limited, "eager", { token: tokenFor("eager", "*") });
  const ask = { type: "subscribe", topics: range(1, 100).map((n) => ({ topic: `eager.${n}` })) };
  client.send(ask);
  client.send(ask);
  await subscribed(client, "eager.100", 2);
  expect(client.closed()).toBeUndefined();
  client.send(ask);
  client.send(ask);
  expect(await client.untilClosed()).toMatchObject({ code: 4429 });
});
