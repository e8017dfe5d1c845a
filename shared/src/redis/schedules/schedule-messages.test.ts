// Tests that messages wait for their time in Redis: stored, known by their id, listed, taken back.
// Guarantees covered: none is numbered before its time; a repetition stores nothing; a cancel wins once; what is listed
// is complete and by time.
import { array, assert, asyncProperty, infiniteStream, integer, nat } from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { DevicesStore } from "../devices/devices-store.js";
import { UserEraser } from "../erasure/erase-user.js";
import type { MessageToAccept } from "../accept/accept-batch.js";
import { readMessage } from "../inbox/read-message.js";
import { cancelSchedule } from "./cancel-schedule.js";
import { listSchedules, type SchedulePlace } from "./list-schedules.js";
import { findDueSchedules, promoteMessages, type PromoteRules } from "./promote-schedules.js";
import { MessageScheduler, type MessageToSchedule } from "./schedule-messages.js";

let store: OpenStore;
let scheduler: MessageScheduler;
beforeAll(async () => {
  store = await openStore();
  scheduler = new MessageScheduler({ ...store, maxInFlight: 1, cap: 10_000 });
});
beforeEach(() => store.clear());
afterAll(() => store.close());

type UserMessageToSchedule = MessageToAccept & Pick<MessageToSchedule, "deliverAtMs">;

const HOUR_MS = 3_600_000;
const PROMOTE: PromoteRules = {
  ackTimeoutMs: 10_000,
  inboxCap: 100,
  readyCap: 1_000,
  fallbackCap: 1_000,
  recordKeepMs: 25 * HOUR_MS,
  receiveLimit: 0,
  deadLettersCap: 100,
};
const PAGE = { limit: 1_000, maxBytes: 1e9, after: undefined } as const;

async function later(parts: Partial<UserMessageToSchedule> = {}): Promise<UserMessageToSchedule> {
  return { ...message(), deliverAtMs: (await store.nowMs()) + HOUR_MS, ...parts };
}

async function idsOf(recipient: string): Promise<string[]> {
  const { items } = await listSchedules(store.scripts, store.keys, recipient, PAGE);
  return items.map(({ id }) => id);
}

describe("a scheduled message", () => {
  test("waits without a number, and takes no place in the user's sequence", async () => {
    const one = await later({ id: "m_one", ttlMs: 60_000, data: `{"a":1}` });
    expect(await scheduler.schedule(one)).toEqual({ outcome: "scheduled" });
    expect(await readMessage(store.scripts, store.keys, "m_one")).toMatchObject({
      state: "scheduled",
      record: { seq: 0, userId: "u1", expiresAtMs: one.deliverAtMs + 60_000, deliverAtMs: one.deliverAtMs },
    });
    const { redis, keys } = store;
    expect(await redis.exists(keys.user("u1"), keys.inbox("u1"), keys.due)).toBe(0);
    // However late its time is noticed, it is there.
    expect(await redis.pttl(keys.record("m_one"))).toBe(-1);
  });

  test("that is already due is not stored: accepting it is another call", async () => {
    const before = await store.snapshot();
    const one = await later({ deliverAtMs: await store.nowMs() });
    expect(await scheduler.schedule(one)).toEqual({ outcome: "due" });
    expect(await store.snapshot()).toEqual(before);
  });

  test("is stored once, however often it is sent; the answer says what was stored", async () => {
    const one = await later({ id: "m_one", fingerprint: "f", attempt: "a" });
    await scheduler.schedule(one);
    await store.accepter().accept(message({ userId: "u2" }));
    const before = await store.snapshot();
    const again = await scheduler.schedule({ ...one, attempt: "b" });
    expect(again).toMatchObject({ outcome: "exists", record: { fingerprint: "f", attempt: "a" } });
    // Not even where its time has come meanwhile.
    await scheduler.schedule({ ...one, deliverAtMs: 1 });
    // Nor by a message without a time that has its id.
    expect(await store.accepter().accept(message({ id: "m_one" }))).toMatchObject({
      outcome: "exists",
      record: { fingerprint: "f" },
    });
    // (That call armed its user; the wake finds nothing to do.)
    await store.redis.zrem(store.keys.due, "u1");
    expect(await store.snapshot()).toEqual(before);
  });

  test("is recognised as a message accepted earlier under its id", async () => {
    await store.accepter().accept(message({ id: "m_one", fingerprint: "f" }));
    const before = await store.snapshot();
    expect(await scheduler.schedule(await later({ id: "m_one" }))).toMatchObject({
      outcome: "exists",
      record: { fingerprint: "f", seq: 1 },
    });
    expect(await store.snapshot()).toEqual(before);
  });

  test("is not a repeat of one that its erased user had", async () => {
    await store.accepter().accept(message({ id: "m_one" }));
    await store.redis.del(store.keys.user("u1"), store.keys.inbox("u1"));
    expect(await scheduler.schedule(await later({ id: "m_one" }))).toEqual({ outcome: "scheduled" });
  });

  test("is refused if the partition's owners are of an earlier release, and accepted after one of this one", async () => {
    const { redis, keys } = store;
    await redis.hset(keys.owner, "token", "3.x", "holder", "d");
    const before = await store.snapshot();
    await expect(scheduler.schedule(await later())).rejects.toMatchObject({ code: "PETREL_NOT_IMPLEMENTED" });
    expect(await store.snapshot()).toEqual(before);
    await redis.del(keys.owner);
    await store.own();
    // As an earlier release takes it.
    await redis.hset(keys.owner, "token", "9.x", "holder", "d");
    expect(await scheduler.schedule(await later())).toEqual({ outcome: "scheduled" });
  });
});

describe("beyond the cap of its recipient", () => {
  test("is refused, alone; a repeat is not, and each way out frees its slot", async () => {
    const { scripts, keys, redis } = store;
    const small = new MessageScheduler({ ...store, maxInFlight: 1, cap: 2 });
    const all = await Promise.all(["m_1", "m_2", "m_3"].map((id) => later({ id })));
    const other = await later({ id: "m_other", userId: "u2" });
    // One call.
    expect(await Promise.all([...all, other].map((one) => small.schedule(one)))).toEqual(
      ["scheduled", "scheduled", "full", "scheduled"].map((outcome) => ({ outcome })),
    );
    expect(await redis.exists(keys.record("m_3"))).toBe(0);
    expect(await small.schedule(all[0]!)).toMatchObject({ outcome: "exists" });
    const refused = async () => (await small.schedule(all[2]!)).outcome;
    const before = await store.snapshot();
    expect(await refused()).toBe("full");
    expect(await store.snapshot()).toEqual(before);

    await cancelSchedule(scripts, keys, "u1", "m_1");
    expect(await refused()).toBe("scheduled");
    expect((await small.schedule(await later({ id: "m_4" }))).outcome).toBe("full");
    for (const member of await redis.zrange(keys.scheduled, "0", "-1"))
      await redis.zadd(keys.scheduled, 1, member);
    const token = await store.own();
    const { members } = await findDueSchedules(scripts, keys, 10);
    await promoteMessages(scripts, keys, token, PROMOTE, members);
    for (const id of ["m_5", "m_6"])
      expect((await small.schedule(await later({ id }))).outcome).toBe("scheduled");
    expect((await small.schedule(await later({ id: "m_7" }))).outcome).toBe("full");
    const devices = new DevicesStore(scripts, store.partitions);
    await new UserEraser({ scripts, partitions: [keys], devices }).erase("u1");
    expect((await small.schedule(await later({ id: "m_7" }))).outcome).toBe("scheduled");
  });
});

describe("cancelling", () => {
  test("ends it cancelled; a second time there is nothing to cancel", async () => {
    await scheduler.schedule(await later({ id: "m_one" }));
    expect(await cancelSchedule(store.scripts, store.keys, "u1", "m_one")).toBe("cancelled");
    const before = await store.snapshot();
    expect(await cancelSchedule(store.scripts, store.keys, "u1", "m_one")).toBe("gone");
    expect(await store.snapshot()).toEqual(before);
    expect(await readMessage(store.scripts, store.keys, "m_one")).toMatchObject({ state: "cancelled" });
    expect(await store.redis.zcard(store.keys.scheduled)).toBe(0);
    expect(await idsOf("u1")).toEqual([]);
    expect(await store.redis.pttl(store.keys.record("m_one"))).toBeGreaterThan(24 * HOUR_MS);
  });

  test("affects nothing else: an accepted message, an unknown one, one that `scheduled` does not hold", async () => {
    await store.accepter().accept(message({ id: "m_now" }));
    await scheduler.schedule(await later({ id: "m_one" }));
    await store.redis.del(store.keys.scheduled);
    const before = await store.snapshot();
    for (const id of ["m_now", "m_unknown"]) {
      expect(await cancelSchedule(store.scripts, store.keys, "u1", id)).toBe("gone");
    }
    expect(await store.snapshot()).toEqual(before);
    expect(await cancelSchedule(store.scripts, store.keys, "u1", "m_one")).toBe("gone");
    expect(await readMessage(store.scripts, store.keys, "m_one")).toMatchObject({ state: "scheduled" });
  });
});

describe("a recipient's list", () => {
  test("is sorted by time, and among equal times by sending; others' are not in it", async () => {
    const nowMs = await store.nowMs();
    const at = (id: string, inMs: number) => later({ id, deliverAtMs: nowMs + inMs });
    const all = [at("m_c", 9_000_000), at("m_z", 8_000_000), at("m_a", 8_000_000), at("m_b", 7_000_000)];
    // One call: their order in it counts.
    await Promise.all((await Promise.all(all)).map((one) => scheduler.schedule(one)));
    await scheduler.schedule(await later({ id: "m_other", userId: "u2" }));
    await scheduler.schedule(await at("m_y", 8_000_000));
    expect(await idsOf("u1")).toEqual(["m_b", "m_z", "m_a", "m_y", "m_c"]);
  });

  test("is sorted by priority first among equal times, whatever release stored it", async () => {
    const deliverAtMs = (await store.nowMs()) + HOUR_MS;
    const ids = ["low", "normal", "high"] as const;
    for (const round of [1, 2])
      for (const priority of ids)
        await scheduler.schedule(await later({ id: `${priority}_${round}`, priority, deliverAtMs }));
    const { redis, keys } = store;
    // As an earlier release stores it, a minute later: its order knows no priority.
    const order = `${((Date.now() + 60_000) * 1_000).toString(16).padStart(13, "0")}01`;
    await redis.zadd(keys.schedulesOf("u1"), deliverAtMs, `${order}before`);
    await redis.zadd(keys.scheduled, deliverAtMs, `${order}before\tu1`);
    const tail = `u1\tf\ta\tscheduled ${deliverAtMs} ${order}\tol\t\t1`;
    await redis.set(keys.record("before"), `0\t@\t1\t${deliverAtMs + HOUR_MS}\t${tail}`);
    expect(await idsOf("u1")).toEqual([
      "high_1",
      "high_2",
      "normal_1",
      "normal_2",
      "before",
      "low_1",
      "low_2",
    ]);
    expect(await cancelSchedule(store.scripts, keys, "u1", "before")).toBe("cancelled");
  });

  test("can be read in pages while messages come and go: none that stays is missed or repeated", async () => {
    await assert(
      asyncProperty(
        array(integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 30 }),
        integer({ min: 1, max: 4 }),
        infiniteStream(nat()),
        async (times, limit, random) => {
          await store.clear();
          const nowMs = await store.nowMs();
          for (const [i, time] of times.entries())
            await scheduler.schedule(await later({ id: `m_${i}`, deliverAtMs: nowMs + time * HOUR_MS }));
          const staying = new Set(times.keys());
          const seen: string[] = [];
          let after: SchedulePlace | undefined;
          do {
            const page = await listSchedules(store.scripts, store.keys, "u1", { ...PAGE, limit, after });
            expect(page.items.length).toBeLessThanOrEqual(limit);
            seen.push(...page.items.map(({ id }) => id));
            after = page.next;
            const gone = (random.next().value ?? 0) % times.length;
            staying.delete(gone);
            await cancelSchedule(store.scripts, store.keys, "u1", `m_${gone}`);
          } while (after !== undefined);
          expect(new Set(seen).size).toBe(seen.length);
          for (const i of staying) expect(seen).toContain(`m_${i}`);
          const timesSeen = seen.map((id) => times[Number(id.slice(2))] ?? 0);
          expect(timesSeen).toEqual(timesSeen.toSorted((a, b) => a - b));
        },
      ),
      { numRuns: 20 },
    );
  });

  test("continues after a message that is gone by then, among many of the same time", async () => {
    const nowMs = await store.nowMs();
    const all = await Promise.all(
      Array.from({ length: 10 }, (_, i) => later({ id: `m_${i}`, deliverAtMs: nowMs + HOUR_MS })),
    );
    await Promise.all(all.map((one) => scheduler.schedule(one)));
    const first = await listSchedules(store.scripts, store.keys, "u1", { ...PAGE, limit: 4 });
    expect(await cancelSchedule(store.scripts, store.keys, "u1", "m_3")).toBe("cancelled");
    const rest = await listSchedules(store.scripts, store.keys, "u1", { ...PAGE, after: first.next });
    expect(rest.items.map(({ id }) => id)).toEqual(["m_4", "m_5", "m_6", "m_7", "m_8", "m_9"]);
    expect(rest.next).toBeUndefined();
  });

  test("ends a page with the message that exceeds the bytes", async () => {
    for (const id of ["m_1", "m_2", "m_3"])
      await scheduler.schedule(await later({ id, data: JSON.stringify("x".repeat(100)) }));
    const first = await listSchedules(store.scripts, store.keys, "u1", { ...PAGE, maxBytes: 150 });
    expect(first.items.map(({ id }) => id)).toEqual(["m_1", "m_2"]);
    const rest = await listSchedules(store.scripts, store.keys, "u1", { ...PAGE, after: first.next });
    expect(rest.items.map(({ id }) => id)).toEqual(["m_3"]);
  });
});
