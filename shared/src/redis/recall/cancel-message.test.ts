// Tests that a stored message can be taken back, on a real Redis: when, and what is left of it.
// Guarantees: what is refused changes nothing; what is cancelled stays so, and holds up nobody.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createRegistry } from "../../kernel/metrics/metrics.js";
import { decodeFallbackEntry } from "../../protocol/fallback/fallback-entry.js";
import { message, openStore, routeLimits, type OpenStore } from "../../testing/redis/open-store.js";
import type { MessageToAccept } from "../accept/accept-batch.js";
import { keepDeviceSends } from "../fallback/device-sends-store.js";
import { ackUsers } from "../inbox/ack-users.js";
import { readInbox } from "../inbox/read-inbox.js";
import { readMessage } from "../inbox/read-message.js";
import { expireMessages } from "../inbox/expire-messages.js";
import { findExpired } from "../inbox/find-expired.js";
import { wakeUsers } from "../wake/wake-users.js";
import { connectRoute, type ConnectResult } from "../routes/connect-routes.js";
import { beginSend } from "./begin-send.js";
import { cancelMessage, type CancelResult } from "./cancel-message.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

const cancel = (id: string): Promise<CancelResult> =>
  cancelMessage(store.scripts, store.scripts, store.keys, id);
const stateOf = async (id: string) => (await readMessage(store.scripts, store.keys, id))?.state;
const userOf = (userId = "u1") => store.redis.hgetall(store.keys.user(userId));
const inboxOf = async (userId = "u1") =>
  (await readInbox(store.scripts, store.keys, userId, 0, { maxEntries: 1_000, maxBytes: 1e9 })).messages.map(
    ({ seq }) => seq,
  );
const ackUpTo = (seq: number, epoch: string) =>
  ackUsers(store.scripts, store.keys, [{ userId: "u1", epoch, seq }], 100);

/** Messages m1, m2, … of one user. @returns their epoch */
async function accept(count: number, parts: Partial<MessageToAccept> = {}): Promise<string> {
  let epoch = "";
  for (let n = 1; n <= count; n++) {
    const result = await store.accepter().accept(message({ id: `m${n}`, ...parts }));
    if (result.outcome !== "stored") throw new Error(result.outcome);
    ({ epoch } = result);
  }
  return epoch;
}

function connect(connection: string, position?: { epoch: string; since: number }): Promise<ConnectResult> {
  const route = { userId: "u1", node: "n1", connection, platform: "web" };
  return connectRoute(
    store.scripts,
    store.keys,
    position === undefined ? route : { ...route, position },
    routeLimits,
  );
}

const recallsOf = (result: ConnectResult) => (result.outcome === "connected" ? result.recalls : undefined);

describe("a queued message", () => {
  test("is cancelled, leaves the inbox, and stays so for more than a day; the second time changes nothing", async () => {
    await accept(2, { ttlMs: 60_000 });
    await store.redis.pexpire(store.keys.record("m1"), 65_000);
    expect(await cancel("m1")).toEqual({ outcome: "cancelled" });
    expect(await stateOf("m1")).toBe("cancelled");
    expect(await inboxOf()).toEqual([2]);
    expect(await store.redis.pttl(store.keys.record("m1"))).toBeGreaterThan(86_400_000);
    const after = await store.snapshot();
    expect(await cancel("m1")).toEqual({ outcome: "cancelled" });
    expect(await store.snapshot()).toEqual(after);
  });

  test("is cancelled for good: an acknowledgement of it, and its expiry, change nothing", async () => {
    const epoch = await accept(3, { ttlMs: 60_000 });
    await cancel("m2");
    await ackUpTo(3, epoch);
    expect([await stateOf("m1"), await stateOf("m2"), await stateOf("m3")]).toEqual([
      "delivered",
      "cancelled",
      "delivered",
    ]);
    const record = (await store.redis.get(store.keys.record("m2"))) ?? "";
    await store.redis.set(store.keys.record("m2"), record.replace(/\t\d+\tu1\t/, "\t1\tu1\t"));
    expect(await stateOf("m2")).toBe("cancelled");
  });

  test("does not block the cursor if it was the oldest, or if all are gone", async () => {
    await accept(4);
    await cancel("m2");
    expect((await userOf())["acked"]).toBe("0");
    await cancel("m1");
    expect(await userOf()).toMatchObject({ acked: "2", ended: "0 2" });
    expect((await userOf())["ackedAt"]).toBeUndefined();
    await cancel("m4");
    await cancel("m3");
    expect(await userOf()).toMatchObject({ acked: "4", ended: "0 4", seq: "4" });
    expect(await inboxOf()).toEqual([]);
  });

  test("between others does not block the cursor forever: the wake moves it, and the user leaves due", async () => {
    const epoch = await accept(3);
    await cancel("m3");
    await ackUpTo(2, epoch);
    expect(await userOf()).toMatchObject({ acked: "2", seq: "3", takenOut: "3" });
    await store.redis.zadd(store.keys.due, 1, "u1");
    const rules = { ackTimeoutMs: 10_000, absenceInMs: 0, settleMs: 0, confirmMs: 0 };
    expect(await wakeUsers(store.scripts, store.keys, await store.own(), rules, ["u1"])).toMatchObject([
      { outcome: "done" },
    ]);
    expect(await userOf()).toMatchObject({ acked: "3", ended: "2 3" });
    expect(await store.redis.zscore(store.keys.due, "u1")).toBeNull();
    expect(await stateOf("m3")).toBe("cancelled");
  });

  test("between expired ones does not keep those in the inbox", async () => {
    for (const [n, ttlMs] of [0, 60_000, 0, 60_000].entries()) {
      await store.accepter().accept(message({ id: `m${n + 1}`, ttlMs }));
    }
    await cancel("m2");
    const look = await findExpired(store.scripts, store.keys, "u1", undefined);
    expect(look?.overdue.map(({ seq }) => seq)).toEqual([1, 3]);
    expect(look?.position.head).toBe(3);
    await expireMessages(store.scripts, store.keys, "u1", look?.overdue ?? []);
    expect(await userOf()).toMatchObject({ acked: "3", ended: "0 3" });
    expect(await inboxOf()).toEqual([4]);
  });

  test("that was removed is not trimmed history: a client that resumes before it has missed nothing", async () => {
    const epoch = await accept(3);
    await cancel("m1");
    const result = await connect("c1", { epoch, since: 0 });
    expect(result).toMatchObject({ outcome: "connected", after: 0, resumed: true, seq: 3 });
  });

  test("an inbox that is gone altogether proves nothing", async () => {
    await accept(2);
    await store.redis.del(store.keys.inbox("u1"));
    expect(await cancel("m2")).toEqual({ outcome: "cancelled" });
    expect((await userOf())["acked"]).toBe("0");
  });

  test("of a user without a hash is cancelled by its record alone", async () => {
    await accept(2);
    await store.redis.del(store.keys.user("u1"));
    expect(await cancel("m1")).toEqual({ outcome: "cancelled" });
    expect(await store.redis.exists(store.keys.user("u1"))).toBe(0);
    expect(await inboxOf()).toEqual([2]);
  });
});

describe("is refused, and changes nothing, if the message", () => {
  async function refused(id: string): Promise<CancelResult> {
    const before = await store.snapshot();
    const result = await cancel(id);
    expect(await store.snapshot()).toEqual(before);
    return result;
  }

  test("is unknown", async () => {
    expect(await refused("m1")).toEqual({ outcome: "unknown" });
  });

  test("was delivered", async () => {
    const epoch = await accept(1);
    await ackUpTo(1, epoch);
    expect(await refused("m1")).toEqual({ outcome: "refused", state: "delivered" });
  });

  test.each(["pushed", "failed", "expired"] as const)("is %s", async (state) => {
    await accept(1);
    await store.redis.append(store.keys.record("m1"), `\t${state} 5 word`);
    expect(await refused("m1")).toEqual({ outcome: "refused", state });
  });

  test("was published to a topic", async () => {
    await store.redis.set(store.keys.record("t1"), `1\te.1\t1\t9999999999999\t#news\t-\tfirst`);
    expect(await refused("t1")).toEqual({ outcome: "refused", state: "published" });
  });

  test("is being sent, or one of its user's devices has it already", async () => {
    const epoch = await accept(2, { notification: "{}" });
    const entry = (id: string, seq: number) =>
      decodeFallbackEntry(["u1", seq, epoch, 1, 9e12, id, "on", "{}"].join("\t"));
    expect(await beginSend(store.scripts, store.keys, entry("m1", 1), { name: "a", keepMs: 60_000 })).toBe(
      true,
    );
    expect(await refused("m1")).toEqual({ outcome: "pushing" });
    await store.redis.del(store.keys.sending("m1"));
    const sent = { id: "m2", seq: 2, epoch, expiresAtMs: Date.now() + 60_000 };
    await keepDeviceSends(store.scripts, store.keys, sent, new Set(["d1"]));
    expect(await refused("m2")).toEqual({ outcome: "pushing" });
    expect(await cancel("m1")).toEqual({ outcome: "cancelled" });
    expect(await beginSend(store.scripts, store.keys, entry("m1", 1), { name: "a", keepMs: 60_000 })).toBe(
      false,
    );
  });

  test("no longer belongs to its user: erased, and another one's by now", async () => {
    const epoch = await accept(1);
    await store.redis.hset(store.keys.user("u1"), "epoch", "other.1", "acked", "0");
    expect(await cancel("m1")).toEqual({ outcome: "cancelled" });
    expect(await userOf()).not.toHaveProperty("recalls");
    expect(epoch).not.toBe("");
  });
});

test("one that has expired ends as such, by Redis' clock", async () => {
  await accept(1, { ttlMs: 0 });
  expect(await cancel("m1")).toEqual({ outcome: "refused", state: "expired" });
  expect(await store.redis.get(store.keys.record("m1"))).toMatch(/\texpired \d+$/);
});

test("each counts once among the ended messages", async () => {
  const registry = createRegistry("test");
  const { scripts } = store;
  scripts.ends.register(registry);
  const count = async (): Promise<number> => {
    const metric = await registry.getSingleMetric("petrel_messages_ended_total")?.get();
    return metric?.values.find(({ labels }) => labels["state"] === "cancelled")?.value ?? 0;
  };
  const before = await count();
  await accept(2);
  for (const id of ["m1", "m1", "m2", "m3"]) await cancel(id);
  expect((await count()) - before).toBe(2);
});

describe("clients that may have it are told", () => {
  test("through the nodes of its user, in the step that cancels it", async () => {
    const epoch = await accept(2);
    const heard = await store.listen(`${store.keys.channel}n1`, `${store.keys.channel}n2`);
    await connect("c1");
    await cancel("m2");
    await expect.poll(() => heard).toEqual([`recalled\nu1\t2\t${epoch}\tm2`]);
  });

  test("by connect, which returns the newest, and up to where clients had acknowledged", async () => {
    const epoch = await accept(40);
    await ackUpTo(2, epoch);
    expect(recallsOf(await connect("c1"))).toBeUndefined();
    for (let n = 3; n <= 40; n++) await cancel(`m${n}`);
    expect(await userOf()).toMatchObject({ acked: "40", ended: "2 40" });
    const listed = recallsOf(await connect("c2"));
    expect(listed?.ackedUpTo).toBe(2);
    expect(listed?.recalls.map(({ seq, id }) => `${seq} ${id}`)).toEqual(
      Array.from({ length: 32 }, (_, i) => `${i + 9} m${i + 9}`),
    );
  });
});
