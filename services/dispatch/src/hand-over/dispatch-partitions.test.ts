// Tests the hand-over loop, with whole dispatchers.
// Guarantees: on a real Redis with a real subscriber; what is handed over is what was accepted, in order.
import { decodeNodeMessage } from "@petrel/shared/protocol/messages/node-messages";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { announceNode } from "@petrel/shared/redis/nodes/node-presence";
import { takePartition } from "@petrel/shared/redis/partitions/partition-lease";
import { connectRoute } from "@petrel/shared/redis/routes/connect-routes";
import { message, openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import {
  startDispatcher,
  type StartDispatcherOptions,
  type TestDispatcher,
} from "../testing/start-dispatcher.js";

const MESSAGES = "petrel_dispatch_messages_total";
/** What is tested here; production hands over in the step that stores. */
const BY_DISPATCHER = { handOver: "dispatch" } as const;

let store: OpenStore;
let keys: PartitionKeys;
const running: TestDispatcher[] = [];
beforeAll(async () => {
  store = await openStore();
  ({ keys } = store);
});
beforeEach(() => store.clear());
afterEach(async () => {
  await Promise.all(running.splice(0).map((dispatcher) => dispatcher.stop()));
});
afterAll(() => store.close());

async function start(
  dispatcherId: string,
  more: Partial<StartDispatcherOptions> = {},
): Promise<TestDispatcher> {
  const dispatcher = await startDispatcher({
    url: store.server.url,
    dispatcherId,
    partitions: store.partitions,
    ...more,
  });
  running.push(dispatcher);
  return dispatcher;
}

async function connect(userId: string, partition: PartitionKeys = keys): Promise<void> {
  await connectRoute(
    store.scripts,
    partition,
    { userId, node: "n1", connection: `c-${userId}`, platform: "web" },
    { leaseMs: 60_000, maxConnectionsPerUser: 5, whenFull: "evict", ackTimeoutMs: 10_000 },
  );
}

/** Each user's seqs, in the order they were heard. */
function seqsByUser(texts: readonly string[]): Map<string, number[]> {
  const byUser = new Map<string, number[]>();
  for (const text of texts) {
    const decoded = decodeNodeMessage(text);
    if (decoded?.kind !== "deliver") continue;
    for (const { userId, seq } of decoded.envelopes) {
      byUser.set(userId, [...(byUser.get(userId) ?? []), seq]);
    }
  }
  return byUser;
}

/** As a node does: what is not above the last one is dropped. */
function withoutRepeats(seqs: readonly number[]): number[] {
  const kept: number[] = [];
  for (const seq of seqs) if (seq > (kept.at(-1) ?? 0)) kept.push(seq);
  return kept;
}

async function readyIsEmpty(): Promise<void> {
  await waitFor(
    async () =>
      (await Promise.all(store.partitions.map(({ ready }) => store.redis.xlen(ready)))).every((n) => n === 0),
    { what: "ready to be empty" },
  );
}

test("thousands of messages in two partitions: each user's in order, none missing, ready empty", async () => {
  const count = sized(4_000, 1_000);
  const users = Array.from({ length: 20 }, (_, i) => ({ userId: `u${i}`, partition: i % 2 }));
  for (const { userId, partition } of users) await connect(userId, store.partitions[partition]);
  const heard = await store.listen(...store.partitions.map(({ channel }) => `${channel}n1`));
  const a = await start("a");
  const accepter = store.accepter(BY_DISPATCHER);
  await Promise.all(
    Array.from({ length: count }, (_, i) => accepter.accept(message(users[i % users.length]))),
  );
  await readyIsEmpty();
  await waitFor(() => [...seqsByUser(heard).values()].reduce((sum, { length }) => sum + length, 0) >= count, {
    what: "all messages",
  });
  const expected = Array.from({ length: count / users.length }, (_, i) => i + 1);
  for (const { userId } of users) expect(seqsByUser(heard).get(userId)).toEqual(expected);
  // Counted once the calls have answered, which the node need not wait for.
  await waitFor(async () => (await a.count(MESSAGES, { outcome: "handed-over" })) === count, {
    what: "the count",
  });
});

test("reads messages from before the first owner from the start; trims those of offline users", async () => {
  await connect("u1");
  const heard = await store.listen(`${keys.channel}n1`);
  const accepter = store.accepter(BY_DISPATCHER);
  await Promise.all(
    Array.from({ length: 500 }, (_, i) => accepter.accept(message({ userId: i % 2 === 0 ? "u1" : "away" }))),
  );
  const a = await start("a");
  await readyIsEmpty();
  await waitFor(() => seqsByUser(heard).get("u1")?.length === 250, { what: "the backlog" });
  expect(seqsByUser(heard).get("u1")).toEqual(Array.from({ length: 250 }, (_, i) => i + 1));
  await waitFor(async () => (await a.count(MESSAGES, { outcome: "offline" })) === 250, { what: "the count" });
  // They stay where they are safe: in the inbox, watched by due.
  expect(await store.redis.xlen(keys.inbox("away"))).toBe(250);
  expect(await store.redis.zscore(keys.due, "away")).not.toBeNull();
});

test("after a crash half-way the other dispatcher continues, and the node sees everything in order", async () => {
  const users = ["u1", "u2"];
  for (const userId of users) await connect(userId);
  const heard = await store.listen(`${keys.channel}n1`);
  const a = await start("a");
  const b = await start("b");
  await waitFor(() => a.owned().length === 1 && b.owned().length === 1, { what: "a fair share" });
  const accepter = store.accepter(BY_DISPATCHER);
  for (let i = 0; i < 1_000; i++) {
    if (i === 500) a.crash();
    await accepter.accept(message({ userId: users[i % 2] ?? "" }));
  }
  await readyIsEmpty();
  const all = Array.from({ length: 500 }, (_, i) => i + 1);
  await waitFor(
    () => users.every((userId) => withoutRepeats(seqsByUser(heard).get(userId) ?? []).length === 500),
    {
      what: "all messages",
    },
  );
  for (const userId of users) expect(withoutRepeats(seqsByUser(heard).get(userId) ?? [])).toEqual(all);
  expect(b.owned()).toEqual([0, 1]);
});

test("an owner that lost its partition trims nothing and stops", async () => {
  await connect("u1");
  await store.listen(`${keys.channel}n1`);
  const a = await start("a");
  await waitFor(() => a.owned().length === 2, { what: "both partitions" });
  const [held] = a.owner.open;
  // Taken behind its back: it believes in its lease until Redis refuses.
  await store.redis.hset(keys.owner, "until", "0");
  await takePartition(store.scripts, keys, "z", 60_000);
  const owner = await store.redis.hgetall(keys.owner);
  await store.accepter(BY_DISPATCHER).accept(message({ userId: "u1" }));
  await waitFor(() => !a.owned().includes(0), { what: "the loss" });
  expect(held?.isHeld).toBe(false);
  expect(await store.redis.xlen(keys.ready)).toBe(1);
  expect(await store.redis.hgetall(keys.owner)).toEqual(owner);
  expect(await a.count(MESSAGES, { outcome: "handed-over" })).toBe(0);
});

test("after an error it retries from the same place, and the other partitions continue", async () => {
  const [, second] = store.partitions;
  if (second === undefined) throw new Error("no second partition");
  await connect("u9", second);
  const heard = await store.listen(`${second.channel}n1`);
  const accepter = store.accepter(BY_DISPATCHER);
  await accepter.accept(message({ userId: "away", notification: "{}" }));
  // A key of another kind makes the offer fail.
  await store.redis.rename(keys.generation, "aside");
  await store.redis.set(keys.generation, "x");
  await start("a");
  await accepter.accept(message({ userId: "u9", partition: 1 }));
  await waitFor(() => seqsByUser(heard).has("u9"), { what: "the other partition's message" });
  expect(await store.redis.xlen(keys.ready)).toBe(1);
  // In one step: an offer that found none would begin another.
  await store.redis.rename("aside", keys.generation);
  await readyIsEmpty();
  expect(await store.redis.xlen(keys.fallback("normal"))).toBe(1);
});

test("a user with broken keys does not block others, and is counted", async () => {
  await connect("u1");
  const heard = await store.listen(`${keys.channel}n1`);
  const accepter = store.accepter(BY_DISPATCHER);
  await accepter.accept(message({ userId: "broken" }));
  await accepter.accept(message({ userId: "u1" }));
  // A key of another kind makes the look-up of routes fail.
  await store.redis.set(keys.routes("broken"), "x");
  const a = await start("a");
  await waitFor(() => seqsByUser(heard).has("u1"), { what: "the message behind it" });
  await readyIsEmpty();
  await waitFor(async () => (await a.count(MESSAGES, { outcome: "skipped" })) === 1, { what: "the count" });
  expect(await store.redis.zscore(keys.due, "broken")).not.toBeNull();
});

test("a user with a broken inbox does not block another's offer", async () => {
  const accepter = store.accepter(BY_DISPATCHER);
  await accepter.accept(message({ userId: "broken", notification: "{}" }));
  await store.redis.del(keys.inbox("broken"));
  await store.redis.set(keys.inbox("broken"), "x");
  for (let i = 0; i < 5; i++) await accepter.accept(message({ userId: `u${i}`, notification: "{}" }));
  await start("a");
  await readyIsEmpty();
  expect(await store.redis.xlen(keys.fallback("normal"))).toBe(5);
  expect(await store.redis.zscore(keys.due, "broken")).not.toBeNull();
});

describe("an undelivered message goes to the fallback", () => {
  const offered = (): Promise<number> => store.redis.xlen(keys.fallback("normal"));
  const accept = (userId = "u1") =>
    store.accepter(BY_DISPATCHER).accept(message({ userId, notification: "{}" }));

  test("at once, if its user has no connection", async () => {
    const a = await start("a");
    await accept();
    await waitFor(async () => (await offered()) === 1, { what: "the offer" });
    await readyIsEmpty();
    expect(await a.count("petrel_dispatch_offered_total")).toBe(1);
  });

  test("not if it has no notification, or someone is subscribed", async () => {
    await connect("u2");
    await store.listen(`${keys.channel}n1`);
    await start("a");
    await store.accepter(BY_DISPATCHER).accept(message({ userId: "u1" }));
    await accept("u2");
    await readyIsEmpty();
    expect(await offered()).toBe(0);
  });

  test("at once, if its node is neither subscribed nor has a key", async () => {
    await connect("u1");
    const a = await start("a");
    await accept();
    await waitFor(async () => (await offered()) === 1, { what: "the offer" });
    expect(await a.count("petrel_dispatch_gone_nodes_total")).toBe(1);
    expect(await store.redis.exists(keys.routes("u1"))).toBe(0);
  });

  test("after a second check, if its node is not subscribed but still has its key", async () => {
    await connect("u1");
    await announceNode(store.scripts, "n1", 60_000);
    // A lease that is lost would have the batch handed over again: that is a second look, too.
    const a = await start("a", { leaseMs: 5_000 });
    await accept();
    await waitFor(async () => (await offered()) === 1, { what: "the offer" });
    expect(await a.count("petrel_dispatch_wakes_total", { outcome: "unheard" })).toBeGreaterThanOrEqual(1);
    expect(await a.count("petrel_dispatch_gone_nodes_total")).toBe(0);
  });

  test("not for a while after this dispatcher's own link was down", async () => {
    const a = await start("a", { offlineSettleMs: 4_000 });
    await store.redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    await accept();
    await readyIsEmpty();
    expect(await offered()).toBe(0);
    await waitFor(async () => (await offered()) === 1, {
      what: "the offer, once absence counts",
      deadlineMs: 30_000,
    });
    await waitFor(async () => (await a.count("petrel_dispatch_wakes_total", { outcome: "offline" })) === 1, {
      what: "the wake to be counted",
    });
  });
});
