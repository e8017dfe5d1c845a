// Tests the wake step, on a real Redis with real subscribers: what becomes of users who are due.
// Guarantees: a stale owner changes nothing.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { message } from "../../testing/redis/open-store.js";
import { ACK_TIMEOUT_MS, openWakes, wakeRules, type OpenWakes } from "../../testing/stores/open-wakes.js";
import { waitFor } from "../../testing/wait-for.js";
import { ackUsers } from "../inbox/ack-users.js";
import { findExpired } from "../inbox/find-expired.js";
import type { PartitionKeys } from "../keys.js";
import { takePartition } from "../partitions/partition-lease.js";
import { readDueUsers, wakeUsers, type WokenUser } from "./wake-users.js";

let store: OpenWakes;
let keys: PartitionKeys;
beforeAll(async () => {
  store = await openWakes();
  ({ keys } = store);
});
beforeEach(() => store.clear());
afterAll(() => store.close());

async function accept(userId: string, ttlMs = 3_600_000): Promise<string> {
  const result = await store.accepter().accept(message({ userId, ttlMs }));
  if (result.outcome !== "stored") throw new Error(result.outcome);
  return result.epoch;
}

test("only due users are returned, the longest waiting first", async () => {
  await accept("u1");
  await accept("u2");
  await accept("u3");
  await store.age("u1", ACK_TIMEOUT_MS);
  await store.age("u3", 2 * ACK_TIMEOUT_MS);
  const nowMs = await store.nowMs();
  expect(await readDueUsers(store.redis, keys, nowMs, 200)).toEqual(["u3", "u1"]);
  expect(await readDueUsers(store.redis, keys, nowMs, 1)).toEqual(["u3"]);
});

test("done: with nothing open the user leaves due", async () => {
  const epoch = await accept("u1");
  await ackUsers(store.scripts, keys, [{ userId: "u1", epoch, seq: 1 }], 100);
  await store.redis.zadd(keys.due, 1, "u1");
  expect(await store.wake("u1")).toEqual([
    { userId: "u1", outcome: "done", expire: false, offered: 0, nodes: [] },
  ]);
  expect(await store.redis.zscore(keys.due, "u1")).toBeNull();
});

test("later: one that is not due (any more) is left alone", async () => {
  await accept("u1");
  const before = await store.snapshot();
  expect(await store.wake("u1")).toMatchObject([{ outcome: "later" }]);
  expect(await store.snapshot()).toEqual(before);
});

test("offline: without a live route the user is armed for its next expiry", async () => {
  await accept("u1", 3_600_000);
  await store.age("u1", ACK_TIMEOUT_MS);
  expect(await store.wake("u1")).toEqual([
    { userId: "u1", outcome: "offline", expire: false, offered: 0, nodes: [] },
  ]);
  expect(await store.dueInMs("u1")).toBeGreaterThan(3_500_000);
});

describe("with a route", () => {
  test("nudged: the node hears of all its users in one message, and they are armed again", async () => {
    for (const userId of ["u1", "u2"]) {
      await store.connect(userId, "n1");
      await accept(userId);
      await store.age(userId, ACK_TIMEOUT_MS);
    }
    const heard = await store.listen(`${keys.channel}n1`);
    expect(await store.wake("u1", "u2")).toMatchObject([{ outcome: "nudged" }, { outcome: "nudged" }]);
    await waitFor(() => heard.length > 0, { what: "the nudge" });
    expect(heard).toEqual(["nudge\nu1\nu2"]);
    expect(await store.dueInMs("u1")).toBeGreaterThan(ACK_TIMEOUT_MS - 1_000);
    expect(await store.redis.hget(keys.user("u1"), "nudged")).toBe("1");
  });

  test("unheard: the node is not subscribed; one of two that is suffices for nudged", async () => {
    await store.connect("u1", "n1");
    await store.connect("u2", "n1");
    await store.connect("u2", "n2");
    for (const userId of ["u1", "u2"]) {
      await accept(userId);
      await store.age(userId, ACK_TIMEOUT_MS);
    }
    const heard = await store.listen(`${keys.channel}n2`);
    expect(await store.wake("u1", "u2")).toMatchObject([
      { outcome: "unheard", nodes: ["n1"] },
      { outcome: "nudged", nodes: [] },
    ]);
    await waitFor(() => heard.length > 0, { what: "the nudge" });
    expect(heard).toEqual(["nudge\nu2"]);
  });

  describe("left in due by an earlier message that was acked since", () => {
    async function leave(ackTimeoutMs: number): Promise<{ openAtMs: number; woken: WokenUser[] }> {
      await store.connect("u1", "n1");
      const epoch = await accept("u1");
      await ackUsers(store.scripts, keys, [{ userId: "u1", epoch, seq: 1 }], 100);
      const later = await store.accepter().accept(message({ userId: "u1" }));
      if (later.outcome !== "stored") throw new Error(later.outcome);
      const openAtMs = later.atMs;
      await store.redis.hset(keys.user("u1"), "ackedAt", openAtMs - 1);
      await store.redis.zadd(keys.due, openAtMs - 1, "u1");
      await waitFor(async () => (await store.nowMs()) > openAtMs + 1, { what: "the clock" });
      const woken = await wakeUsers(store.scripts, keys, store.token, { ...wakeRules, ackTimeoutMs }, ["u1"]);
      if (woken === "stale") throw new Error("stale");
      return { openAtMs, woken };
    }

    test("later: the open message gets its ack timeout, and no more", async () => {
      const { openAtMs, woken } = await leave(600_000);
      expect(woken).toMatchObject([{ outcome: "later" }]);
      expect(Number(await store.redis.zscore(keys.due, "u1"))).toBe(openAtMs + 600_000);
    });

    test("nudged: its ack timeout is over", async () => {
      await store.listen(`${keys.channel}n1`);
      expect((await leave(1)).woken).toMatchObject([{ outcome: "nudged" }]);
    });
  });

  test("later: a user who has acked something since it was armed is only armed again", async () => {
    await store.connect("u1", "n1");
    const epoch = await accept("u1");
    await accept("u1");
    // Armed a timeout ago, acked just now.
    await store.redis.zincrby(keys.due, -ACK_TIMEOUT_MS, "u1");
    await ackUsers(store.scripts, keys, [{ userId: "u1", epoch, seq: 1 }], 100);
    const heard = await store.listen(`${keys.channel}n1`);
    expect(await store.wake("u1")).toEqual([
      { userId: "u1", outcome: "later", expire: false, offered: 0, nodes: [] },
    ]);
    expect(await store.dueInMs("u1")).toBeGreaterThan(ACK_TIMEOUT_MS - 1_000);
    // A timeout later nothing more is acked.
    await store.age("u1", ACK_TIMEOUT_MS);
    expect(await store.wake("u1")).toMatchObject([{ outcome: "nudged" }]);
    await waitFor(() => heard.length > 0, { what: "the nudge" });
    expect(heard).toEqual(["nudge\nu1"]);
  });

  test("an ack from before the user was armed does not postpone its nudge", async () => {
    await store.connect("u1", "n1");
    const epoch = await accept("u1");
    await ackUsers(store.scripts, keys, [{ userId: "u1", epoch, seq: 1 }], 100);
    await store.redis.hincrby(keys.user("u1"), "ackedAt", -60_000);
    await accept("u1");
    await store.age("u1", ACK_TIMEOUT_MS);
    expect(await store.wake("u1")).toMatchObject([{ outcome: "unheard" }]);
  });
});

test("expire: reported if a message has expired, whatever else became of the user", async () => {
  await accept("u1", 1);
  await store.connect("u2", "n1");
  await accept("u2", 1);
  for (const userId of ["u1", "u2"]) await store.age(userId, ACK_TIMEOUT_MS);
  await waitFor(
    async () => (await store.nowMs()) > Number(await store.redis.hget(keys.user("u2"), "nextExpiry")),
    {
      what: "the expiry",
    },
  );
  expect(await store.wake("u1", "u2")).toEqual([
    { userId: "u1", outcome: "offline", expire: true, offered: 0, nodes: [] },
    { userId: "u2", outcome: "unheard", expire: true, offered: 0, nodes: ["n1"] },
  ]);
});

test("expire: not reported while looks at a long inbox pause; the user is armed for the next one", async () => {
  await accept("u1");
  await store.redis.hset(keys.user("u1"), "nextExpiry", 1);
  const nowMs = await store.nowMs();
  await store.redis.hset(keys.user("u1"), "expiryLookFrom", nowMs + 30_000);
  await store.age("u1", ACK_TIMEOUT_MS);
  expect(await store.wake("u1")).toMatchObject([{ outcome: "offline", expire: false }]);
  expect(Number(await store.redis.zscore(keys.due, "u1"))).toBe(nowMs + 30_000);
  await store.age("u1", 60_000);
  await store.redis.hincrby(keys.user("u1"), "expiryLookFrom", -30_000);
  expect(await store.wake("u1")).toMatchObject([{ outcome: "offline", expire: true }]);
  // A clock that was set back does not make the wait longer.
  await store.age("u1", 60_000);
  await store.redis.hset(keys.user("u1"), "expiryLookFrom", nowMs + 3_600_000);
  expect(await store.wake("u1")).toMatchObject([{ outcome: "offline", expire: true }]);
});

test("after a long look at an inbox the next waits for a multiple of its cost, after a short one not", async () => {
  await accept("u1");
  await findExpired(store.scripts, keys, "u1", undefined);
  expect(await store.redis.hget(keys.user("u1"), "expiryLookFrom")).toBeNull();
  const restMs = async (entries: number, bytes: number): Promise<number> => {
    const nowMs = await store.nowMs();
    await findExpired(store.scripts, keys, "u1", { after: 1, entries, bytes });
    return Number(await store.redis.hget(keys.user("u1"), "expiryLookFrom")) - nowMs;
  };
  expect(await restMs(9_500, 9_500_000)).toBeGreaterThan(20_000);
  expect(await restMs(9_500_000, 9_500_000_000)).toBeLessThan(61_000);
});

test("a stale owner wakes nobody and changes nothing", async () => {
  await store.connect("u1", "n1");
  await accept("u1");
  await store.age("u1", ACK_TIMEOUT_MS);
  const heard = await store.listen(`${keys.channel}n1`);

  await store.redis.hset(keys.owner, "until", "1");
  const over = await store.snapshot();
  expect(await wakeUsers(store.scripts, keys, store.token, wakeRules, ["u1"])).toBe("stale");
  expect(await store.snapshot()).toEqual(over);

  await takePartition(store.scripts, keys, "b", 60_000);
  const taken = await store.snapshot();
  expect(await wakeUsers(store.scripts, keys, store.token, wakeRules, ["u1"])).toBe("stale");
  expect(await store.snapshot()).toEqual(taken);
  // Published after it on the same channel: a nudge would have been heard before this.
  await store.redis.spublish(`${keys.channel}n1`, "end");
  await waitFor(() => heard.length > 0, { what: "the end" });
  expect(heard).toEqual(["end"]);
});
