// Tests presence on real sockets: who counts, who is told, and what clients are refused.
// Guarantees: two nodes on a real Redis; subscribers count until three seconds after the last connection; a client that
// asks is told after its `subscribed`, itself included.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import { readPresence } from "@petrel/shared/redis/presence/read-presence";
import { renewHolder, reportPresence } from "@petrel/shared/redis/presence/report-presence";
import { dropTopic, keepTopic } from "@petrel/shared/redis/topics/kept-topics";
import type { WsClient } from "@petrel/shared/testing/peers/ws-client";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { join, openNodeBench, type NodeBench } from "../testing/node-bench.js";
import type { PushNode } from "../testing/start-push-node.js";
import { createStoppedClock } from "../testing/stepped-clock.js";
import { framesOf, openTopicBench, subscribed, tokenFor, type TopicBench } from "../testing/topic-bench.js";

let bench: NodeBench;
let topics: TopicBench;
let nodes: readonly [PushNode, PushNode];
let directory: string;
let file: string;
let topic: string;
let number = 0;

const rules = (list = "list"): string =>
  JSON.stringify({
    rules: [
      { topics: "list.*", presence: list },
      { topics: "count.*", presence: "count" },
    ],
  });

beforeAll(async () => {
  directory = await mkdtemp(joinPath(tmpdir(), "petrel-node-presence-"));
  file = joinPath(directory, "topics.json");
  await writeFile(file, rules());
  bench = await openNodeBench();
  topics = openTopicBench(bench);
  nodes = [await bench.startNode({ topicsFile: file }), await bench.startNode({ topicsFile: file })];
});
beforeEach(() => void (topic = `list.${++number}`));
afterAll(async () => {
  await bench.close();
  await rm(directory, { recursive: true, force: true });
});

type Right = "subscribe" | "publish" | "presence";

function enter(node: PushNode, userId: string, can: readonly Right[] = ["subscribe", "presence"]) {
  return join(node, userId, { token: tokenFor(userId, { topic: "*", can }) });
}

interface PresenceFrame {
  readonly type: "presence";
  readonly topic: string;
  readonly users: number;
  readonly connections: number;
  readonly here?: readonly string[];
}

const presenceOf = (client: WsClient, of = topic): PresenceFrame[] =>
  framesOf(client, of).filter(({ type }) => type === "presence") as unknown as PresenceFrame[];

/** The last frame is this one. */
const untilTold = (client: WsClient, users: string[], connections = users.length): Promise<unknown> =>
  waitFor(
    () => {
      const last = presenceOf(client).at(-1);
      return last?.here?.join() === users.join() && last.connections === connections;
    },
    { what: `${users.join()}: ${JSON.stringify(presenceOf(client))}` },
  );

async function here(of = topic): Promise<string> {
  const [found] = await readPresence(bench.store.scripts, topics.keysOf(of), [
    { topic: of, wantsList: true },
  ]);
  return `${found?.here?.join(" ")} ${found?.connections}`;
}

const untilHere = (expected: string, of = topic): Promise<unknown> =>
  waitFor(async () => (await here(of)) === expected, { what: expected });

describe("a client that asks for presence", () => {
  test("gets the users after its subscribed, itself included; then changes, over all nodes", async () => {
    const bob = await enter(nodes[0], "bob");
    bob.send({ type: "subscribe", topic, presence: true });
    await untilTold(bob, ["bob"]);
    expect(framesOf(bob, topic).map(({ type }) => type)).toEqual(["subscribed", "presence"]);
    expect(presenceOf(bob)).toEqual([{ type: "presence", topic, users: 1, connections: 1, here: ["bob"] }]);
    const [alice, again] = [await enter(nodes[1], "alice"), await enter(nodes[1], "alice")];
    alice.send({ type: "subscribe", topic, presence: true });
    again.send({ type: "subscribe", topic });
    await untilTold(bob, ["alice", "bob"], 3);
    await untilTold(alice, ["alice", "bob"], 3);
    expect(presenceOf(again)).toEqual([]);
    for (const frame of presenceOf(alice)) expect(frame.here).toContain("alice");
    again.send({ type: "unsubscribe", topic });
    await untilTold(bob, ["alice", "bob"], 2);
    for (const one of [alice, again, bob]) one.close();
  });

  test("may ask later, and may stop asking", async () => {
    const bob = await enter(nodes[0], "bob");
    bob.send({ type: "subscribe", topic });
    await subscribed(bob, topic);
    bob.send({ type: "subscribe", topic, presence: true });
    await untilTold(bob, ["bob"]);
    bob.send({ type: "subscribe", topic, presence: false });
    await subscribed(bob, topic, 3);
    const watcher = await enter(nodes[0], "watcher");
    watcher.send({ type: "subscribe", topic, presence: true });
    await untilTold(watcher, ["bob", "watcher"]);
    const alice = await enter(nodes[1], "alice");
    alice.send({ type: "subscribe", topic });
    await untilTold(watcher, ["alice", "bob", "watcher"]);
    expect(presenceOf(bob)).toHaveLength(1);
    for (const one of [alice, bob, watcher]) one.close();
  });

  test("gets numbers, not names, with the rule count", async () => {
    const of = `count.${topic}`;
    const bob = await enter(nodes[0], "bob");
    bob.send({ type: "subscribe", topic: of, presence: true });
    await waitFor(() => presenceOf(bob, of).length > 0, { what: "the counts" });
    expect(presenceOf(bob, of)).toEqual([{ type: "presence", topic: of, users: 1, connections: 1 }]);
    bob.close();
  });

  test("gets only counts if more than 200 users are in the topic", async () => {
    const holder = { node: `others-${topic}`, number: 1 };
    const keys = topics.keysOf(topic);
    await renewHolder(bench.store.scripts, keys, { holder, leaseMs: 60_000, begins: true });
    const say = (version: number, users: [string, number | undefined][]) =>
      reportPresence(bench.store.scripts, keys, {
        holder,
        version,
        former: undefined,
        topics: [{ topic, users }],
      });
    await say(
      1,
      Array.from({ length: 200 }, (_, i) => [`u${i}`, 1]),
    );
    const bob = await enter(nodes[0], "bob");
    bob.send({ type: "subscribe", topic, presence: true });
    await waitFor(() => presenceOf(bob).length > 0, { what: "the counts" });
    expect(presenceOf(bob)).toEqual([{ type: "presence", topic, users: 201, connections: 201 }]);
    await say(2, [["u0", undefined]]);
    await waitFor(() => presenceOf(bob).at(-1)?.here?.length === 200, { what: "the list" });
    bob.close();
  });

  test.each([
    ["the rule says off", "off.1", ["subscribe", "presence"] as const],
    ["its token lacks the right", "list.forbidden", ["subscribe", "publish"] as const],
  ])("is refused where %s, and nothing is subscribed", async (_why, of, can) => {
    const bob = await enter(nodes[0], "bob", can);
    bob.send({ type: "subscribe", topic: of, presence: true });
    expect(await bob.frame("error")).toMatchObject({
      code: "PETREL_FORBIDDEN",
      ref: of,
      on: "subscribe",
      action: "stop",
    });
    bob.send({ type: "unsubscribe", topic: of });
    await waitFor(() => framesOf(bob, of).length > 0, { what: "the answer" });
    await topics.publish(of, 1);
    bob.send({ type: "ping" });
    await bob.frame("pong");
    expect(framesOf(bob, of)).toEqual([{ type: "unsubscribed", topic: of }]);
    expect(bob.closed()).toBeUndefined();
    bob.close();
  });

  test("gets no more once its token lacks the right, and stays subscribed", async () => {
    const bob = await enter(nodes[0], "bob");
    bob.send({ type: "subscribe", topic, presence: true });
    await untilTold(bob, ["bob"]);
    bob.send({ type: "token", token: tokenFor("bob", "*") });
    await bob.frame("token_accepted");
    const watcher = await enter(nodes[0], "watcher");
    watcher.send({ type: "subscribe", topic, presence: true });
    await untilTold(watcher, ["bob", "watcher"]);
    const alice = await enter(nodes[1], "alice");
    alice.send({ type: "subscribe", topic });
    await untilTold(watcher, ["alice", "bob", "watcher"]);
    expect(presenceOf(bob)).toHaveLength(1);
    for (const one of [alice, bob, watcher]) one.close();
  });
});

describe("counted users", () => {
  test("include everyone subscribed, asking or not, also by a kept topic; not by a broadcast", async () => {
    const carol = await enter(nodes[0], "carol", ["subscribe"]);
    await keepTopic(bench.store.scripts, bench.keysOf("carol"), "carol", topic);
    await untilHere("carol 1");
    await dropTopic(bench.store.scripts, bench.keysOf("carol"), "carol", topic);
    nodes[0].clock.step(3_000);
    await untilHere(" 0");
    expect(await here("$all")).toBe(" 0");
    carol.close();
  });

  test("include a user for three seconds after the last connection; one who returns was never away", async () => {
    const watcher = await enter(nodes[1], "watcher");
    watcher.send({ type: "subscribe", topic, presence: true });
    await untilTold(watcher, ["watcher"]);
    const alice = await enter(nodes[0], "alice");
    alice.send({ type: "subscribe", topic });
    await untilTold(watcher, ["alice", "watcher"]);
    const told = presenceOf(watcher).length;
    alice.close();
    await waitFor(
      async () =>
        (await bench.store.redis.hget(topics.keysOf(topic).presenceCounts(topic), "alice"))?.startsWith("0 "),
      { what: "the end of the last connection" },
    );
    const again = await enter(nodes[1], "alice");
    again.send({ type: "subscribe", topic });
    await subscribed(again, topic);
    nodes[0].clock.step(3_000);
    const bob = await enter(nodes[0], "bob");
    bob.send({ type: "subscribe", topic });
    await untilTold(watcher, ["alice", "bob", "watcher"]);
    // Her page was reloaded onto another node, and nobody was told.
    expect(presenceOf(watcher)).toHaveLength(told + 1);
    again.send({ type: "unsubscribe", topic });
    await waitFor(() => framesOf(again, topic).at(-1)?.type === "unsubscribed", { what: "her end" });
    nodes[1].clock.step(3_000);
    await untilTold(watcher, ["bob", "watcher"]);
    for (const one of [again, bob, watcher]) one.close();
  });

  test("do not include an erased one: gone at once", async () => {
    // There the three seconds never end.
    const still = await bench.startNode({ topicsFile: file, clock: createStoppedClock() });
    const watcher = await enter(nodes[1], "watcher");
    watcher.send({ type: "subscribe", topic, presence: true });
    const alice = await enter(still, "alice");
    alice.send({ type: "subscribe", topic });
    await untilTold(watcher, ["alice", "watcher"]);
    await bench.store.redis.spublish(bench.keysOf("alice").control, "erase-user\nalice");
    await untilTold(watcher, ["watcher"]);
    expect((await alice.untilClosed()).code).toBe(4403);
    watcher.close();
  });

  test("do include one who has signed in anew when an erasure is heard late", async () => {
    const watcher = await enter(nodes[1], "watcher");
    watcher.send({ type: "subscribe", topic, presence: true });
    const alice = await enter(nodes[0], "alice");
    alice.send({ type: "subscribe", topic });
    await untilTold(watcher, ["alice", "watcher"]);
    // Of the tokens before generation 0: hers is of that.
    await bench.store.redis.spublish(bench.keysOf("alice").control, "erase-user\nalice\n\t0");
    const bob = await enter(nodes[0], "bob");
    bob.send({ type: "subscribe", topic });
    await untilTold(watcher, ["alice", "bob", "watcher"]);
    for (const one of [alice, bob, watcher]) one.close();
  });

  test("are none once the rule says off; and again some once it says list", async () => {
    const alice = await enter(nodes[0], "alice");
    alice.send({ type: "subscribe", topic });
    await untilHere("alice 1");
    await writeFile(file, rules("off"));
    process.emit("SIGHUP");
    await untilHere(" 0");
    await writeFile(file, rules());
    process.emit("SIGHUP");
    await untilHere("alice 1");
    alice.close();
  });
});

describe("a node", () => {
  test("that stops as planned lets its lease end when the three seconds are over", async () => {
    const node = await bench.startNode({ topicsFile: file, nodeTtlMs: 60_000 });
    const alice = await enter(node, "alice");
    alice.send({ type: "subscribe", topic });
    await untilHere("alice 1");
    await node.stop();
    const keys = topics.keysOf(topic);
    const leases = await bench.store.redis.zrange(keys.presenceLeases, "0", "-1", "WITHSCORES");
    const end = Number(leases[leases.findIndex((one) => one.startsWith(`${node.nodeId}/`)) + 1]);
    expect(end - (await bench.store.nowMs())).toBeLessThanOrEqual(3_000);
    expect(await bench.store.redis.hget(keys.presenceCounts(topic), "alice")).toMatch(/^0 1 /);
  });

  test("checks again when it has missed announcements", async () => {
    const node = await bench.startNode({ topicsFile: file });
    const bob = await enter(node, "bob");
    bob.send({ type: "subscribe", topic, presence: true });
    await untilTold(bob, ["bob"]);
    // A change that was never announced.
    const keys = topics.keysOf(topic);
    await bench.store.redis.hset(keys.presenceCounts(topic), "alice", "1 1 5", "", 2);
    await bench.store.redis.zadd(keys.presenceUsers(topic), 0, "alice");
    await bench.store.redis.call("CLIENT", "KILL", "TYPE", "pubsub");
    const told = await waitFor(() => presenceOf(bob)[1], { what: "the change", deadlineMs: 6_000 });
    expect(told.here).toEqual(["alice", "bob"]);
    bob.close();
  });

  test("keeps one lease, however many users it holds, and verifies it after its link was away", async () => {
    const alice = await enter(nodes[0], "alice");
    alice.send({ type: "subscribe", topic });
    await untilHere("alice 1");
    await bench.store.redis.flushall();
    await bench.store.redis.call("CLIENT", "KILL", "TYPE", "pubsub");
    await untilHere("alice 1");
    alice.close();
  });
});
