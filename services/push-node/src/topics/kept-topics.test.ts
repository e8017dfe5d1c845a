// Topics that the server keeps for a user, and what a token allows: on live connections, of two nodes.
import { dropTopic, keepTopic } from "@petrel/shared/redis/topics/kept-topics";
import { waitFor } from "@petrel/shared/testing/wait-for";
import type { WsClient } from "@petrel/shared/testing/peers/ws-client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { approach, join, openNodeBench, type NodeBench } from "../testing/node-bench.js";
import type { PushNode } from "../testing/start-push-node.js";
import {
  framesOf,
  openTopicBench,
  subscribed,
  tokenFor,
  untilOffset,
  type TopicBench,
} from "../testing/topic-bench.js";

let bench: NodeBench;
let topics: TopicBench;
let node: PushNode;
let other: PushNode;
let users = 0;

beforeAll(async () => {
  bench = await openNodeBench();
  topics = openTopicBench(bench);
  [node, other] = await Promise.all([bench.startNode({ maxTopicsPerConnection: 1 }), bench.startNode()]);
});
afterAll(() => bench.close());

const newUser = (): string => `u${++users}`;
const keep = (userId: string, topic: string) =>
  keepTopic(bench.store.scripts, bench.keysOf(userId), userId, topic);
const drop = (userId: string, topic: string) =>
  dropTopic(bench.store.scripts, bench.keysOf(userId), userId, topic);

async function ended(client: WsClient, topic: string, reason: string): Promise<void> {
  await waitFor(() => framesOf(client, topic).at(-1)?.type === "unsubscribed", {
    what: `the end of ${topic}`,
  });
  expect(framesOf(client, topic).at(-1)).toEqual({ type: "unsubscribed", topic, reason });
}

describe("kept topics", () => {
  test("come with each connect, unasked, whatever the token says; they are not counted, and cannot be left", async () => {
    const userId = newUser();
    await keep(userId, "kept.1");
    await keep(userId, "kept.2");
    await topics.publish("kept.1", "before");
    const client = await join(node, userId, { token: tokenFor(userId, "mine") });
    expect(await subscribed(client, "kept.1")).toMatchObject({ offset: 1, recovered: false });
    await subscribed(client, "kept.2");
    await topics.publish("kept.1", "after");
    expect(await untilOffset(client, "kept.1", 2)).toMatchObject({ data: "after" });
    client.send({ type: "unsubscribe", topic: "kept.1" });
    expect(await client.frame("error")).toMatchObject({
      code: "PETREL_CONFLICT",
      ref: "kept.1",
      on: "unsubscribe",
      action: "none",
    });
    // A position needs no right either.
    const { epoch } = await subscribed(client, "kept.1");
    client.send({ type: "subscribe", topic: "kept.1", epoch, offset: 0 });
    expect(await subscribed(client, "kept.1", 2)).toMatchObject({ recovered: true, offset: 2 });
    // One of its own is allowed here.
    client.send({ type: "subscribe", topic: "mine" });
    await subscribed(client, "mine");
  });

  test("come and go at once on live connections of all nodes; announced twice, applied once", async () => {
    const userId = newUser();
    const clients = await Promise.all([join(node, userId), join(other, userId)]);
    await keep(userId, "now");
    await keep(userId, "now");
    for (const client of clients) await subscribed(client, "now");
    await topics.publish("now", 1);
    for (const client of clients) await untilOffset(client, "now", 1);
    await drop(userId, "now");
    for (const client of clients) {
      await ended(client, "now", "removed");
      expect(framesOf(client, "now").map(({ type }) => type)).toEqual([
        "subscribed",
        "message",
        "unsubscribed",
      ]);
    }
  });

  test("a client's own subscription survives the server's, and vice versa", async () => {
    const userId = newUser();
    const client = await join(node, userId, { token: tokenFor(userId, "both") });
    client.send({ type: "subscribe", topic: "both" });
    await subscribed(client, "both");
    await keep(userId, "both");
    await drop(userId, "both");
    await keep(userId, "told");
    await subscribed(client, "told");
    await topics.publish("both", 1);
    await untilOffset(client, "both", 1);
    expect(framesOf(client, "both").map(({ type }) => type)).toEqual(["subscribed", "message"]);
    client.send({ type: "unsubscribe", topic: "both" });
    await waitFor(() => framesOf(client, "both").at(-1)?.type === "unsubscribed", { what: "the end" });
    expect(framesOf(client, "both").at(-1)).toEqual({ type: "unsubscribed", topic: "both" });
  });

  test("what a client has resumed and left again ends when the server says so", async () => {
    const userId = newUser();
    await keep(userId, "resumed");
    const client = await join(node, userId, { token: tokenFor(userId, "resumed") });
    const { epoch } = await subscribed(client, "resumed");
    client.send({ type: "subscribe", topic: "resumed", epoch, offset: 0 });
    await subscribed(client, "resumed", 2);
    client.send({ type: "unsubscribe", topic: "resumed" });
    expect(await client.frame("error")).toMatchObject({ code: "PETREL_CONFLICT" });
    await drop(userId, "resumed");
    await ended(client, "resumed", "removed");
  });

  test("a node learns missed changes when it registers its connections again", async () => {
    const userId = newUser();
    const client = await join(node, userId);
    await keep(userId, "stays");
    await subscribed(client, "stays");
    const { redis } = bench.store;
    await redis.hset(bench.keysOf(userId).keptTopics(userId), "unheard", 1);
    await redis.hdel(bench.keysOf(userId).keptTopics(userId), "stays");
    await node.renewal.renewAll("a test");
    await subscribed(client, "unheard");
    await ended(client, "stays", "removed");
  });

  test("a change that comes while the connection registers is not undone by the older answer", async () => {
    const slow = await bench.startNode();
    const run = slow.scripts.run.bind(slow.scripts);
    let release = (): void => undefined;
    let isHeld = false;
    slow.scripts.run = async (name, keys, args) => {
      const answer = await run(name, keys, args);
      if (name === "connect.v7" && isHeld) await new Promise<void>((resolve) => (release = resolve));
      return answer;
    };
    const userId = newUser();
    await keep(userId, "old");
    isHeld = true;
    const client = approach(slow, { token: `user.${userId}` });
    await waitFor(async () => (await bench.routes(userId)).length === 1, { what: "the script" });
    await keep(userId, "new");
    await drop(userId, "old");
    const [connection] = slow.registry.ofUser(userId);
    await waitFor(() => connection?.keptChanges?.byTopic.size === 2, { what: "the changes" });
    isHeld = false;
    release();
    await subscribed(client, "new");
    expect(framesOf(client, "old")).toEqual([]);
    // The same while it registers again.
    isHeld = true;
    const again = slow.renewal.renewAll("a test");
    await waitFor(() => connection?.keptChanges !== undefined, { what: "the call" });
    // The answer is on its way, and held.
    await keep(userId, "newer");
    await subscribed(client, "newer");
    isHeld = false;
    release();
    await again;
    await waitFor(() => connection?.keptChanges === undefined, { what: "its end" });
    expect(framesOf(client, "newer").map(({ type }) => type)).toEqual(["subscribed"]);
  });
});

describe("what a token allows", () => {
  test("a fresh token that covers less ends what only the client wanted", async () => {
    const userId = newUser();
    const client = await join(other, userId, { token: tokenFor(userId, "room.*", "hall") });
    client.send({
      type: "subscribe",
      topics: [{ topic: "room.1" }, { topic: "hall" }, { topic: "room.kept" }],
    });
    await subscribed(client, "room.kept");
    await keep(userId, "room.kept");
    await keep(userId, "marker");
    await subscribed(client, "marker");
    client.send({ type: "token", token: tokenFor(userId, "hall") });
    await ended(client, "room.1", "forbidden");
    await topics.publish("hall", 1);
    await untilOffset(client, "hall", 1);
    await topics.publish("room.kept", 1);
    await untilOffset(client, "room.kept", 1);
    // It was the client's too, but is not any more.
    await drop(userId, "room.kept");
    await ended(client, "room.kept", "removed");
    client.send({ type: "subscribe", topic: "room.1" });
    expect(await client.frame("error")).toMatchObject({ code: "PETREL_FORBIDDEN", ref: "room.1" });
  });

  test("a token revoked while the topic is opened does not let it in", async () => {
    const slow = await bench.startNode();
    const run = slow.scripts.runForList.bind(slow.scripts);
    let release = (): void => undefined;
    slow.scripts.runForList = async (name, keys, args) => {
      const answer = await run(name, keys, args);
      if (keys.some((key) => key.endsWith(":opening")))
        await new Promise<void>((resolve) => (release = resolve));
      return answer;
    };
    const userId = newUser();
    const client = await join(slow, userId, { token: tokenFor(userId, "opening") });
    client.send({ type: "subscribe", topic: "opening" });
    client.send({ type: "token", token: tokenFor(userId) });
    await client.frame("token_accepted");
    await waitFor(() => slow.topics.follow.topicOf("opening")?.isReading === true, { what: "the read" });
    await waitFor(() => (release(), client.frames.some(({ type }) => type === "error")), {
      what: "the refusal",
    });
    expect(await client.frame("error")).toMatchObject({ code: "PETREL_FORBIDDEN", ref: "opening" });
    expect(framesOf(client, "opening")).toEqual([]);
  });

  test("the error for a topic that cannot be opened comes too, and the connection goes on", async () => {
    const deaf = await bench.startNode();
    const run = deaf.scripts.runForList.bind(deaf.scripts);
    deaf.scripts.runForList = async (name, keys, args) => {
      if (keys.some((key) => /:shut\d$/.test(key))) throw new Error("not now");
      return run(name, keys, args);
    };
    const userId = newUser();
    const client = await join(deaf, userId, { token: tokenFor(userId, "*") });
    // They wait side by side, not one after the other: that would take 45 s.
    const shut = Array.from({ length: 9 }, (_, i) => `shut${i}`);
    client.send({ type: "subscribe", topics: [...shut, "open"].map((topic) => ({ topic })) });
    // The one behind them is open meanwhile, and stays so, however long they wait.
    await waitFor(() => deaf.topics.follow.topicOf("open")?.isReady === true, { what: "the open topic" });
    for (let i = 0; i < 4; i++) deaf.topics.follow.tick();
    const errors = () => client.frames.filter(({ type }) => type === "error");
    await waitFor(() => errors().length === shut.length, { what: "the answers", deadlineMs: 30_000 }).catch(
      (cause: unknown) => {
        throw new Error(`${String(cause)}: ${JSON.stringify(client.frames)}`, { cause });
      },
    );
    for (const [i, error] of errors().entries()) {
      const ref = shut[i];
      expect(error).toMatchObject({ code: "PETREL_UNAVAILABLE", ref, on: "subscribe", action: "backoff" });
    }
    await subscribed(client, "open");
  }, 40_000);
});
