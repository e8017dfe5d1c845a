// Tests what the wake step offers to the fallback, and what it waits for, on a real Redis with real subscribers.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { decodeFallbackEntry } from "../../protocol/fallback/fallback-entry.js";
import { message } from "../../testing/redis/open-store.js";
import { ACK_TIMEOUT_MS, openWakes, wakeRules, type OpenWakes } from "../../testing/stores/open-wakes.js";
import { waitFor } from "../../testing/wait-for.js";
import { ackUsers } from "../inbox/ack-users.js";
import type { PartitionKeys } from "../keys.js";
import { removeRoute } from "../routes/route-store.js";
import { readDueUsers, wakeUsers } from "./wake-users.js";

let store: OpenWakes;
let keys: PartitionKeys;
beforeAll(async () => {
  store = await openWakes();
  ({ keys } = store);
});
beforeEach(() => store.clear());
afterAll(() => store.close());

describe("offers to the fallback", () => {
  const NOTIFICATION = '{"title":"t"}';
  const notify = async (id: string): Promise<string> => {
    const result = await store.accepter().accept(message({ id, notification: NOTIFICATION }));
    if (result.outcome !== "stored") throw new Error(result.outcome);
    return result.epoch;
  };
  const offered = async (): Promise<string[]> => {
    const entries = await store.redis.xrange(keys.fallback("normal"), "-", "+");
    return entries.map(([, fields]) => decodeFallbackEntry(fields[1] ?? "").id);
  };
  /** As if a timeout had gone by since the last look. */
  const timePasses = async (byMs = ACK_TIMEOUT_MS): Promise<void> => {
    await store.age("u1", byMs);
    for (const field of ["nudgedAt", "unheardAt"]) {
      if (await store.redis.hexists(keys.user("u1"), field)) {
        await store.redis.hincrby(keys.user("u1"), field, -byMs);
      }
    }
  };

  test("what was nudged and not acknowledged a whole timeout later; not what came in between", async () => {
    await store.connect("u1", "n1");
    await store.listen(`${keys.channel}n1`);
    await notify("m1");
    await timePasses();
    expect(await store.wake("u1")).toMatchObject([{ outcome: "nudged", offered: 0 }]);
    await notify("m2");
    await timePasses();
    expect(await store.wake("u1")).toMatchObject([{ outcome: "nudged", offered: 1 }]);
    expect(await offered()).toEqual(["m1"]);
    await timePasses();
    expect(await store.wake("u1")).toMatchObject([{ outcome: "nudged", offered: 1 }]);
    expect(await offered()).toEqual(["m1", "m2"]);
    await timePasses();
    expect(await store.wake("u1")).toMatchObject([{ outcome: "nudged", offered: 0 }]);
  });

  test("not what was acknowledged after the nudge, nor anything while the client goes on acknowledging", async () => {
    await store.connect("u1", "n1");
    await store.listen(`${keys.channel}n1`);
    const epoch = await notify("m1");
    await notify("m2");
    await timePasses();
    await store.wake("u1");
    await timePasses();
    await ackUsers(store.scripts, keys, [{ userId: "u1", epoch, seq: 1 }], 100);
    expect(await store.wake("u1")).toMatchObject([{ outcome: "later", offered: 0 }]);
    await timePasses();
    await ackUsers(store.scripts, keys, [{ userId: "u1", epoch, seq: 2 }], 100);
    expect(await store.redis.zscore(keys.due, "u1")).toBeNull();
    expect(await offered()).toEqual([]);
  });

  test("not early if the user is woken early, as by an expiry", async () => {
    await store.connect("u1", "n1");
    const heard = await store.listen(`${keys.channel}n1`);
    await notify("m1");
    await timePasses();
    await store.wake("u1");
    await waitFor(() => heard.length === 1, { what: "the nudge" });
    await store.redis.zadd(keys.due, 1, "u1");
    expect(await store.wake("u1")).toMatchObject([{ outcome: "later", offered: 0 }]);
    expect(await store.dueInMs("u1")).toBeGreaterThan(ACK_TIMEOUT_MS - 1_000);
    expect(await store.dueInMs("u1")).toBeLessThanOrEqual(ACK_TIMEOUT_MS);
    expect(await offered()).toEqual([]);
    await timePasses();
    expect(await store.wake("u1")).toMatchObject([{ outcome: "nudged", offered: 1 }]);
  });

  test("all of it without a live route", async () => {
    await notify("m1");
    await notify("m2");
    await timePasses();
    expect(await store.wake("u1")).toMatchObject([{ outcome: "offline", offered: 2 }]);
    expect(await store.dueInMs("u1")).toBeGreaterThan(ACK_TIMEOUT_MS - 1_000);
  });

  test("more than a call takes goes on at once", async () => {
    for (let i = 0; i < 70; i++) await notify(`m${i}`);
    await timePasses();
    expect(await store.wake("u1")).toMatchObject([{ outcome: "offline", offered: 64 }]);
    expect(await store.dueInMs("u1")).toBeLessThanOrEqual(0);
    expect(await store.wake("u1")).toMatchObject([{ outcome: "offline", offered: 6 }]);
    expect(await store.dueInMs("u1")).toBeGreaterThan(1_000);
  });

  test("if the stream is full it waits: not checked again at once, but before its next expiry", async () => {
    await notify("m1");
    await store.redis.xadd(keys.fallback("normal"), "*", "m", "1");
    const wakeWith = async (fallbackCap: number) => {
      await store.redis.zadd(keys.due, 0, "u1");
      const woken = await wakeUsers(store.scripts, keys, store.token, { ...wakeRules, fallbackCap }, ["u1"]);
      return woken === "stale" ? undefined : woken[0];
    };
    expect(await wakeWith(1)).toMatchObject({ outcome: "offline", offered: 0, isHeldUp: true });
    expect(await store.dueInMs("u1")).toBeGreaterThan(3 * ACK_TIMEOUT_MS);
    expect(await store.dueInMs("u1")).toBeLessThanOrEqual(4 * ACK_TIMEOUT_MS);
    const last = await wakeWith(2);
    expect(last).toMatchObject({ outcome: "offline", offered: 1 });
    expect(last).not.toHaveProperty("isHeldUp");
    expect(await store.dueInMs("u1")).toBeGreaterThan(3_000_000);
  });

  test("a nudged user is nudged again while its message waits for a full stream", async () => {
    await store.listen(`${keys.channel}n1`);
    await notify("m1");
    await store.connect("u1", "n1");
    await store.redis.xadd(keys.fallback("normal"), "*", "m", "1");
    const offered: number[] = [];
    const heldUp: boolean[] = [];
    for (const fallbackCap of [1, 1, 1, 2, 2]) {
      await timePasses();
      const woken = await wakeUsers(store.scripts, keys, store.token, { ...wakeRules, fallbackCap }, ["u1"]);
      if (woken === "stale") throw new Error("stale");
      expect(woken[0]?.outcome).toBe("nudged");
      expect(await store.dueInMs("u1")).toBeGreaterThan(ACK_TIMEOUT_MS - 1_000);
      offered.push(woken[0]?.offered ?? 0);
      heldUp.push(woken[0]?.isHeldUp === true);
    }
    expect(offered).toEqual([0, 0, 0, 1, 0]);
    expect(heldUp).toEqual([false, true, true, false, false]);
  });

  test("not while its socket has just closed: checked when the grace is over", async () => {
    await store.connect("u1", "n1");
    await notify("m1");
    const [member = ""] = await store.redis.zrange(keys.routes("u1"), "0", "-1");
    await removeRoute(store.scripts, keys, "u1", member, 3_000);
    await timePasses();
    expect(await store.wake("u1")).toMatchObject([{ outcome: "grace", offered: 0 }]);
    expect(await store.dueInMs("u1")).toBeGreaterThan(2_000);
    expect(await store.dueInMs("u1")).toBeLessThan(3_010);
    await store.endLeases("u1");
    await store.redis.zadd(keys.due, 1, "u1");
    expect(await store.wake("u1")).toMatchObject([{ outcome: "offline", offered: 1 }]);
  });

  test("a user who comes and goes without acknowledging anything is not considered on the way back forever", async () => {
    await notify("m1");
    let gone = false;
    for (let i = 0; i < 12 && !gone; i++) {
      await store.connect("u1", `n${i}`);
      const [member = ""] = await store.redis.zrange(keys.routes("u1"), "0", "-1");
      await removeRoute(store.scripts, keys, "u1", member, 3_000);
      await store.redis.zadd(keys.due, 1, "u1");
      const [woken] = await store.wake("u1");
      gone = woken?.offered === 1;
      if (!gone) expect(woken).toMatchObject({ outcome: "grace", offered: 0 });
      if (await store.redis.hexists(keys.user("u1"), "graceFrom")) {
        await store.redis.hincrby(keys.user("u1"), "graceFrom", -3_000);
      }
    }
    expect(gone).toBe(true);
    expect(await store.redis.hget(keys.user("u1"), "graceFrom")).toBeNull();
  });

  test("one who acknowledged something since then has the full grace again", async () => {
    const epoch = await notify("m1");
    await notify("m2");
    await store.connect("u1", "n1");
    const [member = ""] = await store.redis.zrange(keys.routes("u1"), "0", "-1");
    await removeRoute(store.scripts, keys, "u1", member, 3_000);
    const beforeMs = await store.nowMs();
    await store.redis.hset(keys.user("u1"), "graceFrom", beforeMs - 3 * ACK_TIMEOUT_MS);
    await ackUsers(store.scripts, keys, [{ userId: "u1", epoch, seq: 1 }], 100);
    await store.redis.zadd(keys.due, 1, "u1");
    expect(await store.wake("u1")).toMatchObject([{ outcome: "grace", offered: 0 }]);
  });

  test("a user who has just returned gets a moment to acknowledge, once per nudge", async () => {
    await store.connect("u1", "n1");
    await store.listen(`${keys.channel}n1`, `${keys.channel}n2`);
    await notify("m1");
    await timePasses();
    await store.wake("u1");
    await timePasses();
    await store.connect("u1", "n2", 0);
    expect(await store.wake("u1")).toMatchObject([{ outcome: "later", offered: 0 }]);
    expect(await store.dueInMs("u1")).toBeGreaterThan(1_500);
    expect(await store.dueInMs("u1")).toBeLessThanOrEqual(2_000);
    await store.redis.zadd(keys.due, 1, "u1");
    expect(await store.wake("u1")).toMatchObject([{ outcome: "nudged", offered: 1 }]);
  });

  test("a clock that was set back makes no wait longer", async () => {
    await notify("m1");
    await timePasses();
    await store.redis.hset(keys.generation, "since", (await store.nowMs()) + 3_600_000);
    expect(await store.wake("u1")).toMatchObject([{ outcome: "unsettled", offered: 0 }]);
    expect(await store.dueInMs("u1")).toBeLessThanOrEqual(5_000);
    await store.connect("u1", "n1");
    await store.redis.hset(keys.generation, "since", 0);
    await store.redis.hset(keys.user("u1"), "unheardAt", (await store.nowMs()) + 3_600_000);
    await store.redis.zadd(keys.due, await store.nowMs(), "u1");
    expect(await store.wake("u1")).toMatchObject([{ outcome: "unheard", offered: 0 }]);
    expect(await store.dueInMs("u1")).toBeLessThanOrEqual(1_000);
  });

  test("a user for whom a call has no room keeps its place ahead of one who had some of it", async () => {
    const data = JSON.stringify("x".repeat(60_000));
    for (const userId of ["u1", "u2"]) {
      for (let i = 0; i < 12; i++) {
        await store.accepter().accept(message({ userId, notification: NOTIFICATION, data }));
      }
      await store.redis.zadd(keys.due, 1, userId);
    }
    expect(await store.wake("u1", "u2")).toMatchObject([
      { outcome: "offline" },
      { outcome: "offline", offered: 0 },
    ]);
    expect(await readDueUsers(store.redis, keys, (await store.nowMs()) + 10, 200)).toEqual(["u2", "u1"]);
  });

  test("not while absence proves nothing yet", async () => {
    await notify("m1");
    await store.redis.hset(keys.generation, "replid", "0".repeat(40));
    await timePasses();
    expect(await store.wake("u1")).toMatchObject([{ outcome: "unsettled", offered: 0 }]);
    expect(await store.dueInMs("u1")).toBeGreaterThan(4_000);
    await store.redis.hincrby(keys.generation, "since", -5_000);
    await store.redis.zadd(keys.due, 1, "u1");
    expect(await store.wake("u1")).toMatchObject([{ outcome: "offline", offered: 1 }]);
  });

  test("unheard: once a second check has confirmed it, and again whenever there is more", async () => {
    await store.connect("u1", "n1");
    await notify("m1");
    await timePasses();
    expect(await store.wake("u1")).toMatchObject([{ outcome: "unheard", offered: 0 }]);
    expect(await store.dueInMs("u1")).toBeLessThanOrEqual(1_000);
    await store.redis.zadd(keys.due, 1, "u1");
    expect(await store.wake("u1")).toMatchObject([{ outcome: "unheard", offered: 0 }]);
    await timePasses(1_000);
    expect(await store.wake("u1")).toMatchObject([{ outcome: "unheard", offered: 1 }]);
    expect(await store.dueInMs("u1")).toBeGreaterThan(ACK_TIMEOUT_MS - 1_000);
    expect(await store.dueInMs("u1")).toBeLessThanOrEqual(ACK_TIMEOUT_MS);
    await notify("m2");
    await timePasses();
    expect(await store.wake("u1")).toMatchObject([{ outcome: "unheard", offered: 1 }]);
    expect(await offered()).toEqual(["m1", "m2"]);
  });

  test("a node that is subscribed again is nudged, and the earlier unheard is forgotten", async () => {
    await store.connect("u1", "n1");
    await notify("m1");
    await timePasses();
    await store.wake("u1");
    await timePasses();
    await store.listen(`${keys.channel}n1`);
    expect(await store.wake("u1")).toMatchObject([{ outcome: "nudged", offered: 0 }]);
    expect(await store.redis.hget(keys.user("u1"), "unheardAt")).toBeNull();
  });
});
