// Tests the answer of the connect step: where a connection's messages continue.
// Guarantees: registered and answered in one step; `since` counts as an ack only if it can be one.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { ackUsers } from "../inbox/ack-users.js";
import { USER_KEEP_MS } from "../keys.js";
import { connectRoute, type RouteToConnect } from "./connect-routes.js";

const DAY_MS = 24 * 60 * 60 * 1000;

let store: OpenStore;
let epoch: string;
beforeAll(async () => void (store = await openStore()));
beforeEach(async () => {
  await store.clear();
  epoch = await accept(5);
});
afterAll(() => store.close());

const limits = {
  leaseMs: 30_000,
  maxConnectionsPerUser: 50,
  whenFull: "evict",
  ackTimeoutMs: 10_000,
} as const;

async function accept(count: number): Promise<string> {
  const accepter = store.accepter({ ackTimeoutMs: 60_000 });
  const results = await Promise.all(Array.from({ length: count }, () => accepter.accept(message())));
  const last = results.at(-1);
  if (last?.outcome !== "stored") throw new Error("not stored");
  return last.epoch;
}

async function connect(position?: RouteToConnect["position"], userId = "u1") {
  const route = { userId, node: "n1", connection: "c1", platform: "web", ...(position && { position }) };
  const result = await connectRoute(store.scripts, store.keys, route, limits);
  if (result.outcome !== "connected") throw new Error("refused");
  return result;
}

const ack = (seq: number) => ackUsers(store.scripts, store.keys, [{ userId: "u1", epoch, seq }], 1_000);
const acked = async () => Number(await store.redis.hget(store.keys.user("u1"), "acked"));
const dueAt = () => store.redis.zscore(store.keys.due, "u1");

test("registers and returns epoch, seq and acked, in one step", async () => {
  await ack(2);
  const before = await store.nowMs();
  const connected = await connect();
  expect(connected).toMatchObject({ epoch, seq: 5, after: 2, resumed: false, acked: 2 });
  expect(connected.member).toMatch(/^\d{13}\/n1\/c1\/web$/);
  const [member, leaseEnd] = await store.redis.zrange(store.keys.routes("u1"), "0", "-1", "WITHSCORES");
  expect(member).toBe(connected.member);
  expect(Number(leaseEnd)).toBeGreaterThanOrEqual(before + limits.leaseMs);
});

test("a device without a position starts after acked", async () => {
  expect(await connect()).toMatchObject({ after: 0, resumed: false });
  await ack(5);
  expect(await connect()).toMatchObject({ after: 5, resumed: false });
});

test("a since in the matching epoch counts as an ack", async () => {
  expect(await connect({ epoch, since: 3 })).toMatchObject({ after: 3, resumed: true, acked: 3 });
  expect(await acked()).toBe(3);
  expect(await dueAt()).not.toBeNull();
  expect(Number(await store.redis.hget(store.keys.user("u1"), "ackedAt"))).toBeGreaterThan(0);
});

test("since at the newest: everything is acked, and the user leaves due", async () => {
  expect(await connect({ epoch, since: 5 })).toMatchObject({ after: 5, resumed: true, acked: 5 });
  expect(await dueAt()).toBeNull();
});

test("since below acked: the device gets again what others have acked, and acked stays", async () => {
  await ack(4);
  expect(await connect({ epoch, since: 1 })).toMatchObject({ after: 1, resumed: true, acked: 4 });
  expect(await acked()).toBe(4);
});

test("since below what was trimmed: not resumed", async () => {
  await ack(4);
  await store.redis.xtrim(store.keys.inbox("u1"), "MINID", "3-0");
  expect(await connect({ epoch, since: 1 })).toMatchObject({ after: 2, resumed: false });
  expect(await connect({ epoch, since: 2 })).toMatchObject({ after: 2, resumed: true });
});

test("since below a completely trimmed inbox: not resumed; at its end: resumed", async () => {
  await ack(5);
  await store.redis.xtrim(store.keys.inbox("u1"), "MAXLEN", 0);
  expect(await connect({ epoch, since: 3 })).toMatchObject({ after: 5, resumed: false });
  expect(await connect({ epoch, since: 5 })).toMatchObject({ after: 5, resumed: true });
});

test.each([
  ["beyond seq", () => ({ epoch, since: 6 })],
  ["of another epoch", () => ({ epoch: "foreign.0", since: 3 })],
  ["without an epoch", () => ({ epoch: "", since: 3 })],
])("since %s: not resumed, after acked, and no ack", async (_what, position) => {
  await ack(2);
  expect(await connect(position())).toMatchObject({ epoch, after: 2, resumed: false, acked: 2 });
  expect(await acked()).toBe(2);
  expect(await dueAt()).not.toBeNull();
});

test("with an open message, the user is checked after the ack timeout at the latest", async () => {
  await store.redis.zadd(store.keys.due, (await store.nowMs()) + 86_400_000, "u1");
  await connect();
  expect(Number(await dueAt())).toBeLessThanOrEqual((await store.nowMs()) + limits.ackTimeoutMs);
});

test("with an open message, a user that due lost is added again", async () => {
  await store.redis.del(store.keys.due);
  await connect();
  expect(await dueAt()).not.toBeNull();
});

test("with nothing open, the user is not added to due", async () => {
  await ack(5);
  await connect();
  await connect(undefined, "newcomer");
  expect(await store.redis.zcard(store.keys.due)).toBe(0);
});

test("a user seen for the first time gets an epoch that its first message keeps", async () => {
  const connected = await connect(undefined, "newcomer");
  expect(connected).toMatchObject({ seq: 0, after: 0, acked: 0 });
  const first = await store.accepter().accept(message({ userId: "newcomer" }));
  expect(first).toMatchObject({ outcome: "stored", seq: 1, epoch: connected.epoch });
});

test("a user's hash stays as long as it is used", async () => {
  const { keys, redis } = store;
  await redis.hset(keys.user("u1"), "keepUntil", String((await store.nowMs()) + 5_000));
  await redis.pexpire(keys.user("u1"), 6_000);
  await connect();
  expect(await redis.pttl(keys.user("u1"))).toBeGreaterThan(2_592_000_000);
});

test("a user's hash is kept anew once a day", async () => {
  const { keys, redis } = store;
  const today = async (): Promise<number> => Math.floor((await store.nowMs()) / DAY_MS);
  const keptForMs = async (keptOn: number): Promise<number> => {
    await redis.hset(keys.user("u1"), "keptOn", String(keptOn));
    await redis.pexpire(keys.user("u1"), USER_KEEP_MS + DAY_MS);
    await connect();
    return redis.pttl(keys.user("u1"));
  };
  // Should midnight come in between, the next attempt has a whole day.
  for (;;) {
    const day = await today();
    const anew = await keptForMs(day - 1);
    const notedDay = await redis.hget(keys.user("u1"), "keptOn");
    const asBefore = await keptForMs(day);
    if ((await today()) !== day) continue;
    expect(anew).toBeGreaterThan(USER_KEEP_MS + 1.9 * DAY_MS);
    expect(notedDay).toBe(String(day));
    expect(asBefore).toBeLessThanOrEqual(USER_KEEP_MS + DAY_MS);
    return;
  }
});

test("an inbox outlives every message that comes after a connect, however close to its expiry it was", async () => {
  const { keys, redis } = store;
  await redis.hset(keys.user("u1"), "keepUntil", String((await store.nowMs()) + 5_000));
  await redis.pexpire(keys.user("u1"), 6_000);
  await redis.pexpire(keys.inbox("u1"), 5_000);
  await connect();
  await store.accepter().accept(message({ ttlMs: 2_592_000_000 }));
  expect(await redis.pttl(keys.inbox("u1"))).toBeGreaterThan(2_592_000_000);
});

test("the inbox of a user who connected before the first message expires", async () => {
  await connect(undefined, "newcomer");
  await store.accepter().accept(message({ userId: "newcomer" }));
  expect(await store.redis.pttl(store.keys.inbox("newcomer"))).toBeGreaterThan(0);
});

test("the routes of a user whose connections all vanished silently expire", async () => {
  await connect();
  expect(await store.redis.pttl(store.keys.routes("u1"))).toBeGreaterThan(0);
});
