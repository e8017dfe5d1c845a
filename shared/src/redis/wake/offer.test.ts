// Tests which messages are offered to the fallback after a hand-over did not reach their users, and which not yet.
// Guarantees: on a real Redis; evidence decides who is offline, in one step with the offer.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { decodeFallbackEntry, type FallbackEntry } from "../../protocol/fallback/fallback-entry.js";
import type { Priority } from "../../protocol/messages/stored-message.js";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { ackUsers } from "../inbox/ack-users.js";
import type { MessageToAccept } from "../accept/accept-batch.js";
import type { PartitionKeys } from "../keys.js";
import { offerUsers, type OfferedUser } from "./offer-users.js";
import { takePartition } from "../partitions/partition-lease.js";
import type { OfferRules } from "./wake-users.js";
import { connectRoute } from "../routes/connect-routes.js";
import { readRoutes, removeRoute } from "../routes/route-store.js";

const RULES = { absenceInMs: 0, settleMs: 5_000, confirmMs: 1_000 };
const NOTIFICATION = '{"title":"t","body":"b"}';

let store: OpenStore;
let keys: PartitionKeys;
let token: string;
beforeAll(async () => {
  store = await openStore();
  ({ keys } = store);
});
beforeEach(async () => {
  await store.clear();
  token = await store.own();
});
afterAll(() => store.close());

async function accept(id: string, parts: Partial<MessageToAccept> = {}) {
  const result = await store.accepter().accept(message({ id, notification: NOTIFICATION, ...parts }));
  if (result.outcome !== "stored") throw new Error(result.outcome);
  return result;
}

async function offer(userId = "u1", more: Partial<OfferRules> = {}, gone: string[] = []) {
  const result = await offerUsers(store.scripts, keys, token, { ...RULES, ...more }, gone, [userId]);
  if (result === "stale") throw new Error("stale");
  return result[0] as OfferedUser;
}

async function entries(priority: Priority = "normal"): Promise<FallbackEntry[]> {
  const found = await store.redis.xrange(keys.fallback(priority), "-", "+");
  return found.map(([, fields]) => decodeFallbackEntry(fields[1] ?? ""));
}
const ids = async (): Promise<string[]> => (await entries()).map(({ id }) => id);

async function connect(node: string, userId = "u1"): Promise<string> {
  const result = await connectRoute(
    store.scripts,
    keys,
    { userId, node, connection: `c-${node}`, platform: "web" },
    { leaseMs: 60_000, maxConnectionsPerUser: 5, whenFull: "evict", ackTimeoutMs: 10_000 },
  );
  if (result.outcome !== "connected") throw new Error("refused");
  return result.member;
}

async function dueInMs(): Promise<number> {
  return Number(await store.redis.zscore(keys.due, "u1")) - (await store.nowMs());
}

test("offline: everything open is offered, once, in order, with all that a channel needs", async () => {
  const first = await accept("m1", { ttlMs: 60_000, data: '{"secret":"\\t"}' });
  await accept("m2");
  expect(await offer()).toEqual({ userId: "u1", outcome: "offered", offered: 2 });
  const [one, two] = await entries();
  expect(one).toEqual({
    userId: "u1",
    seq: 1,
    epoch: first.epoch,
    atMs: first.atMs,
    expiresAtMs: first.atMs + 60_000,
    id: "m1",
    fallback: "offline",
    priority: "normal",
    notification: NOTIFICATION,
  });
  expect(two?.id).toBe("m2");
  expect(await offer()).toMatchObject({ outcome: "offered", offered: 0 });
  await accept("m3");
  expect(await offer()).toMatchObject({ offered: 1 });
  expect(await ids()).toEqual(["m1", "m2", "m3"]);
});

test("does not offer what was acknowledged; with nothing open there is nothing to do", async () => {
  const { epoch } = await accept("m1");
  await accept("m2");
  await ackUsers(store.scripts, keys, [{ userId: "u1", epoch, seq: 1 }], 100);
  await offer();
  expect(await ids()).toEqual(["m2"]);
  await ackUsers(store.scripts, keys, [{ userId: "u1", epoch, seq: 2 }], 100);
  expect(await offer()).toMatchObject({ outcome: "done" });
  expect(await offer("nobody")).toMatchObject({ outcome: "done" });
});

test("offers only messages with the policy offline and a notification", async () => {
  await accept("never", { fallback: "never" });
  await accept("silent", { notification: "" });
  await accept("over", { ttlMs: 0 });
  await accept("m1");
  await offer();
  expect(await ids()).toEqual(["m1"]);
});

test("a message with the policy always is in the fallback when it is stored, and is not offered again", async () => {
  await accept("m1", { fallback: "always", priority: "high" });
  await accept("m2", { fallback: "always", notification: "" });
  await accept("m1", { fallback: "always", priority: "high" }).catch(() => undefined);
  expect((await entries("high")).map(({ id, seq }) => ({ id, seq }))).toEqual([{ id: "m1", seq: 1 }]);
  expect(await offer()).toMatchObject({ offered: 0 });
  expect(await ids()).toEqual([]);
});

test("of a batch only those with always are in it, each in the stream of its priority", async () => {
  const accepter = store.accepter();
  const parts = [
    { id: "a", fallback: "offline", priority: "normal" },
    { id: "b", fallback: "always", priority: "low" },
    { id: "c", fallback: "always", priority: "normal" },
  ] as const;
  await Promise.all(
    parts.map((part, i) =>
      accepter.accept(message({ userId: `u${i}`, notification: NOTIFICATION, ...part })),
    ),
  );
  expect((await entries("low")).map(({ id, userId }) => ({ id, userId }))).toEqual([
    { id: "b", userId: "u1" },
  ]);
  expect((await entries("normal")).map(({ id }) => id)).toEqual(["c"]);
});

describe("a full fallback stream", () => {
  const always = { notification: NOTIFICATION, fallback: "always" } as const;
  const fill = (priority: Priority, count: number) =>
    Promise.all(
      Array.from({ length: count }, () => store.redis.xadd(keys.fallback(priority), "*", "m", "1")),
    );

  test("refuses what would go there at once, message by message, and nothing else of the same call", async () => {
    const accepter = store.accepter({ fallbackCap: 3 });
    await fill("low", 2);
    const parts = [
      { userId: "a", ...always, priority: "low" },
      { userId: "b", ...always, priority: "low" },
      { userId: "c", ...always, priority: "normal" },
      { userId: "d", notification: NOTIFICATION, priority: "low" },
      { userId: "b", priority: "low" },
    ] as const;
    const results = await Promise.allSettled(parts.map((part) => accepter.accept(message(part))));
    expect(results.map(({ status }) => status)).toEqual([
      "fulfilled",
      "rejected",
      "fulfilled",
      "fulfilled",
      "fulfilled",
    ]);
    expect(results[1]).toMatchObject({ reason: { code: "PETREL_UNAVAILABLE", retryAfterSeconds: 5 } });
    expect(results[4], "a number is not taken by what was refused").toMatchObject({ value: { seq: 1 } });
    expect(await store.redis.xlen(keys.fallback("low"))).toBe(3);
    expect(await store.redis.xlen(keys.fallback("normal"))).toBe(1);
  });

  test("answers a message it has taken before as a duplicate", async () => {
    const accepter = store.accepter({ fallbackCap: 1 });
    const one = message({ ...always, priority: "high" });
    await accepter.accept(one);
    expect(await accepter.accept(one)).toMatchObject({ outcome: "exists", record: { seq: 1 } });
  });

  test("takes no offer beyond its bound: the message waits with its user in due, and others go on", async () => {
    await accept("low1", { priority: "low" });
    await accept("high1", { priority: "high" });
    await accept("low2", { priority: "low" });
    await accept("high2", { priority: "high" });
    await fill("low", 2);
    expect(await offer("u1", { fallbackCap: 2 })).toMatchObject({
      outcome: "offered",
      offered: 2,
      isHeldUp: true,
    });
    expect((await entries("high")).map(({ id }) => id)).toEqual(["high1", "high2"]);
    expect(await dueInMs(), "watched, and not at once").toBeGreaterThan(5_000);
    await accept("high3", { priority: "high" });
    expect(await offer("u1", { fallbackCap: 4 })).toMatchObject({ offered: 3 });
    expect((await entries("low")).slice(2).map(({ id }) => id)).toEqual(["low1", "low2"]);
    expect((await entries("high")).map(({ id }) => id)).toEqual(["high1", "high2", "high3"]);
    const last = await offer("u1", { fallbackCap: 9 });
    expect(last).toMatchObject({ offered: 0 });
    expect(last).not.toHaveProperty("isHeldUp");
    expect(await store.redis.hget(keys.user("u1"), "offeredBy")).toBeNull();
  });

  test("delays only its own priority, however long the queue behind it is", async () => {
    await accept("low1", { priority: "low" });
    for (let i = 1; i <= 150; i++) await accept(`m${i}`);
    await fill("low", 200);
    for (let call = 0; call < 4; call++) await offer("u1", { fallbackCap: 200 });
    expect((await ids()).length).toBe(150);
    await store.redis.del(keys.fallback("normal"));
    await accept("low2", { priority: "low" });
    await accept("late");
    await offer("u1", { fallbackCap: 200 });
    expect(await ids()).toEqual(["late"]);
  });

  test("an acknowledgement moves over what waited", async () => {
    const { epoch } = await accept("low1", { priority: "low" });
    await accept("m1");
    await accept("m2");
    await fill("low", 1);
    await offer("u1", { fallbackCap: 1 });
    await store.redis.del(keys.fallback("normal"));
    await ackUsers(store.scripts, keys, [{ userId: "u1", epoch, seq: 2 }], 100);
    await accept("low2", { priority: "low" });
    await offer("u1", { fallbackCap: 2 });
    expect((await entries("low")).slice(1).map(({ id }) => id)).toEqual(["low2"]);
    expect(await ids()).toEqual(["m2"]);
  });

  test("continues what the last release has written", async () => {
    for (const id of ["m1", "m2", "m3"]) await accept(id);
    // First `offered` alone; then both releases side by side, of which the older one moves only `offered`.
    await store.redis.hset(keys.user("u1"), "offered", 1);
    await offer();
    expect(await ids()).toEqual(["m2", "m3"]);
    await accept("low1", { priority: "low" });
    await store.redis.hset(keys.user("u1"), "offered", 4, "offeredBy", "3 3 2");
    expect(await offer()).toMatchObject({ offered: 0 });
  });
});

test("each priority has its own stream", async () => {
  for (const priority of ["low", "high", "normal"] as const) await accept(priority, { priority });
  await offer();
  for (const priority of ["low", "high", "normal"] as const) {
    expect((await entries(priority)).map(({ id }) => id)).toEqual([priority]);
  }
});

test("`due` brings what exceeds a call at once", async () => {
  for (let i = 1; i <= 100; i++) await accept(`m${i}`);
  expect(await offer()).toEqual({ userId: "u1", outcome: "offered", offered: 64 });
  expect(await dueInMs()).toBeLessThanOrEqual(0);
  await offer();
  expect(await ids()).toEqual(Array.from({ length: 100 }, (_, i) => `m${i + 1}`));
});

describe("not offline", () => {
  test("grace: a socket that has just closed; checked again when its grace is over", async () => {
    await accept("m1");
    const member = await connect("n1");
    await removeRoute(store.scripts, keys, "u1", member, 3_000);
    expect(await offer()).toMatchObject({ outcome: "grace", offered: 0 });
    expect(await dueInMs()).toBeGreaterThan(2_000);
    expect(await dueInMs()).toBeLessThan(3_010);
    await store.endLeases("u1");
    expect(await offer()).toMatchObject({ outcome: "offered", offered: 1 });
  });

  test("a sign-out leaves no grace", async () => {
    await accept("m1");
    await removeRoute(store.scripts, keys, "u1", await connect("n1"), 0);
    expect(await offer()).toMatchObject({ outcome: "offered", offered: 1 });
  });

  test("unheard: a live node is checked again, and counts as not reached when that is confirmed", async () => {
    await accept("m1");
    await connect("n1");
    expect(await offer()).toMatchObject({ outcome: "unheard", offered: 0 });
    expect(await dueInMs()).toBeLessThan(1_010);
    expect(await offer()).toMatchObject({ outcome: "unheard", offered: 0 });
    await store.redis.hincrby(keys.user("u1"), "unheardAt", -1_000);
    expect(await offer()).toMatchObject({ outcome: "offered", offered: 1 });
  });

  test("a new connection starts over: an earlier unheard does not count", async () => {
    await accept("m1");
    await connect("n1");
    await offer();
    await store.redis.hincrby(keys.user("u1"), "unheardAt", -1_000);
    await connect("n2");
    expect(await offer()).toMatchObject({ outcome: "unheard", offered: 0 });
  });

  test("a note from before an acknowledgement confirms nothing", async () => {
    const { epoch } = await accept("m1");
    await connect("n1");
    await offer();
    await store.redis.hincrby(keys.user("u1"), "unheardAt", -1_000);
    await ackUsers(store.scripts, keys, [{ userId: "u1", epoch, seq: 1 }], 100);
    await accept("m2");
    expect(await offer()).toMatchObject({ outcome: "unheard", offered: 0 });
    expect(await dueInMs()).toBeGreaterThan(500);
  });

  test("an old note confirms nothing", async () => {
    await accept("m1");
    await connect("n1");
    await offer();
    await store.redis.hincrby(keys.user("u1"), "unheardAt", -62_000);
    expect(await offer()).toMatchObject({ outcome: "unheard", offered: 0 });
    expect(await dueInMs()).toBeGreaterThan(500);
  });

  test("unsettled: absence proves nothing yet, because of the caller's link or a change of generation", async () => {
    await accept("m1");
    expect(await offer("u1", { absenceInMs: 700 })).toMatchObject({ outcome: "unsettled", offered: 0 });
    expect(await dueInMs()).toBeLessThan(710);
    await store.redis.hset(keys.generation, "replid", "0".repeat(40));
    expect(await offer()).toMatchObject({ outcome: "unsettled", offered: 0 });
    await store.redis.hincrby(keys.generation, "since", 3_600_000);
    await store.redis.del(keys.due);
    expect(await offer()).toMatchObject({ outcome: "unsettled", offered: 0 });
    expect(await dueInMs(), "a clock that was set back").toBeLessThanOrEqual(5_000);
    await store.redis.hincrby(keys.generation, "since", -3_600_000);
    await store.redis.hincrby(keys.generation, "since", -5_000);
    expect(await offer()).toMatchObject({ outcome: "offered", offered: 1 });
  });
});

describe("a node that is gone", () => {
  test("its routes are removed, and its users are offline at once", async () => {
    await accept("m1");
    await connect("n1");
    await connect("n2");
    expect(await offer("u1", {}, ["n1"])).toMatchObject({ outcome: "unheard" });
    expect(await readRoutes(store.scripts, keys, ["u1"])).toEqual([["n2"]]);
    expect(await offer("u1", {}, ["n1", "n2"])).toMatchObject({ outcome: "offered", offered: 1 });
    expect(await readRoutes(store.scripts, keys, ["u1"])).toEqual([[]]);
  });

  test("keeps its routes if it has come back since it was looked for, and its users are not offline", async () => {
    await accept("m1");
    await connect("n1");
    await connect("n2");
    await store.listen(`${keys.channel}n1`);
    expect(await offer("u1", {}, ["n1", "n2"])).toMatchObject({ outcome: "unheard", offered: 0 });
    expect(await readRoutes(store.scripts, keys, ["u1"])).toEqual([["n1"]]);
  });

  test("is not treated as gone while absence proves nothing", async () => {
    await accept("m1");
    await connect("n1");
    expect(await offer("u1", { absenceInMs: 1_000 }, ["n1"])).toMatchObject({ outcome: "unsettled" });
    expect(await readRoutes(store.scripts, keys, ["u1"])).toEqual([["n1"]]);
  });
});

test("a stale owner offers nothing and changes nothing", async () => {
  await accept("m1");
  await takePartition(store.scripts, keys, "a", 60_000);
  const before = await store.snapshot();
  expect(await offerUsers(store.scripts, keys, token, RULES, ["n1"], ["u1"])).toBe("stale");
  expect(await store.snapshot()).toEqual(before);
});
