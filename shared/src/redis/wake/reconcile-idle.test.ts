// Tests what the reconciler does with the inboxes of idle users.
// Guarantees: on a real Redis; an inbox goes only when all of it is acknowledged and nothing has come for a day; a user
// who comes back is told the truth, and goes on with the next number.
import * as fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { ackUsers } from "../inbox/ack-users.js";
import { expireMessages } from "../inbox/expire-messages.js";
import { takePartition } from "../partitions/partition-lease.js";
import { readMessage } from "../inbox/read-message.js";
import { readInbox } from "../inbox/read-inbox.js";
import { reconcileUsers } from "./reconcile-users.js";
import { connectRoute } from "../routes/connect-routes.js";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

let store: OpenStore;
let token: string;
let epoch = "";
beforeAll(async () => void (store = await openStore()));
beforeEach(async () => {
  await store.clear();
  const lease = await takePartition(store.scripts, store.keys, "a", 60_000);
  if (lease.outcome !== "held") throw new Error("not taken");
  ({ token } = lease);
});
afterAll(() => store.close());

const inboxKey = () => store.keys.inbox("u1");
const userKey = () => store.keys.user("u1");

async function accept(id: string, ttlMs = 7 * DAY_MS): Promise<number> {
  const result = await store.accepter().accept(message({ id, ttlMs }));
  if (result.outcome !== "stored") throw new Error(result.outcome);
  ({ epoch } = result);
  return result.seq;
}
const ack = (seq: number) => ackUsers(store.scripts, store.keys, [{ userId: "u1", epoch, seq }], 100);

/** As if everything had happened that much earlier. */
async function pass(ms: number): Promise<void> {
  const entries = await store.redis.xrange(inboxKey(), "-", "+");
  const ttl = await store.redis.pttl(inboxKey());
  // One without entries stays as it is: made again by the next message, it would have no time to live.
  if (entries.length > 0) await store.redis.del(inboxKey());
  for (const [id, [, value = ""]] of entries) {
    const parts = value.split("\t");
    parts[1] = String(Number(parts[1]) - ms);
    await store.redis.xadd(inboxKey(), id, "m", parts.join("\t"));
  }
  if (entries.length > 0) await store.redis.pexpire(inboxKey(), ttl);
  const ackedAt = await store.redis.hget(userKey(), "ackedAt");
  if (ackedAt !== null) await store.redis.hset(userKey(), "ackedAt", Number(ackedAt) - ms);
}
async function reconcile(): Promise<readonly string[]> {
  const rules = { overdueMs: 60_000, idleMs: DAY_MS } as const;
  const reconciled = await reconcileUsers(store.scripts, store.keys, token, rules, ["u1"]);
  if (reconciled === "stale") throw new Error("refused");
  return reconciled.emptied;
}
const connect = async (since: number) => {
  const route = { userId: "u1", node: "n.1", connection: "c1", platform: "web" } as const;
  const rules = { leaseMs: HOUR_MS, maxConnectionsPerUser: 5, whenFull: "evict", ackTimeoutMs: 1 } as const;
  const result = await connectRoute(
    store.scripts,
    store.keys,
    { ...route, position: { epoch, since } },
    rules,
  );
  if (result.outcome !== "connected") throw new Error(result.outcome);
  return result;
};

describe("an acknowledged inbox that has been idle", () => {
  test("is emptied, with what was recorded for looks at it; its messages' states stay", async () => {
    await accept("m1");
    await accept("m2");
    await ack(2);
    await store.redis.hset(userKey(), "nudged", 2, "nudgedAt", 1, "offered", 2, "kept", 2, "ackedAtWake", 2);
    await pass(DAY_MS + 1_000);
    expect(await reconcile()).toEqual(["u1"]);
    expect(await store.redis.exists(inboxKey())).toBe(0);
    expect(Object.keys(await store.redis.hgetall(userKey())).sort()).toEqual(
      ["acked", "ackedAt", "epoch", "generation", "seq"].sort(),
    );
    expect((await readMessage(store.scripts, store.keys, "m1"))?.state).toBe("delivered");
    expect(await reconcile()).toEqual([]);
  });

  test("continues with the next number in the same epoch, and every key expires again", async () => {
    await accept("m1");
    await ack(1);
    const before = epoch;
    await pass(2 * DAY_MS);
    await reconcile();
    expect(await accept("m2")).toBe(2);
    expect(epoch).toBe(before);
    expect(await store.redis.pttl(inboxKey())).toBeGreaterThan(30 * DAY_MS);
    expect(await store.redis.pttl(userKey())).toBeGreaterThan(await store.redis.pttl(inboxKey()));
    const page = await readInbox(store.scripts, store.keys, "u1", 1, { maxEntries: 10, maxBytes: 1e6 });
    expect(page.messages.map(({ id }) => id)).toEqual(["m2"]);
    expect(page.isTrimmed).toBe(false);
  });

  test("a device that has everything resumes; one that lacks what another acknowledged is told", async () => {
    for (let i = 1; i <= 5; i++) await accept(`m${i}`);
    await ack(5);
    await pass(2 * DAY_MS);
    await reconcile();
    expect(await connect(5)).toMatchObject({ resumed: true });
    expect(await connect(3)).toMatchObject({ resumed: false });
  });

  test("a device that lacks only expired messages resumes", async () => {
    await accept("m1");
    await ack(1);
    const seqs = [await accept("m2", 0), await accept("m3", 0)];
    const over = seqs.map((seq) => ({ seq, epoch, id: `m${seq}` }));
    await expireMessages(store.scripts, store.keys, "u1", over);
    await pass(2 * DAY_MS);
    expect(await reconcile()).toEqual(["u1"]);
    expect(await connect(1)).toMatchObject({ resumed: true });
    expect(await connect(0)).toMatchObject({ resumed: false });
  });
});

describe("an inbox stays", () => {
  test("if something is open, however old", async () => {
    await accept("m1");
    await accept("m2");
    await ack(1);
    await pass(6 * DAY_MS);
    expect(await reconcile()).toEqual([]);
    expect(await store.redis.xlen(inboxKey())).toBe(2);
  });

  test("if something came, or was acknowledged, within the day", async () => {
    await accept("m1");
    await ack(1);
    await pass(DAY_MS - 60_000);
    const before = await store.snapshot();
    expect(await reconcile()).toEqual([]);
    expect(await store.snapshot()).toEqual(before);
    await pass(120_000);
    await store.redis.hset(userKey(), "ackedAt", await store.nowMs());
    expect(await reconcile()).toEqual([]);
  });

  test("if its key is of another type: nobody else waits for it", async () => {
    await accept("m1");
    await ack(1);
    await store.redis.del(inboxKey());
    await store.redis.set(inboxKey(), "no stream");
    await store.redis.hset(userKey(), "ackedAt", 1);
    expect(await reconcile()).toEqual([]);
    expect(await store.redis.get(inboxKey())).toBe("no stream");
  });
});

test("whatever happens: a device resumes only if nothing that it had not received, and that had not ended, is gone", async () => {
  const step = fc.oneof(
    fc.constant("accept" as const),
    fc.constant("accept-over" as const),
    fc.constant("expire" as const),
    fc.constant("ack" as const),
    fc.constant("idle" as const),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 14 }), async (steps) => {
      await store.redis.del(userKey(), inboxKey());
      /** By number: whether it ended by itself or by an acknowledgement. */
      const ended = new Map<number, "open" | "acked" | "expired">();
      let [count, over] = [0, [] as { seq: number; epoch: string; id: string }[]];
      const seqs = () => [...ended.keys()];
      for (const what of steps) {
        if (what === "accept" || what === "accept-over") {
          const id = `p${Math.random().toString(36).slice(2)}`;
          const seq = await accept(id, what === "accept" ? 7 * DAY_MS : 0);
          ended.set(seq, "open");
          if (what === "accept-over") over.push({ seq, epoch, id });
          count = seq;
        } else if (count === 0) {
          continue;
        } else if (what === "expire") {
          const open = over.filter(({ seq }) => ended.get(seq) === "open");
          await expireMessages(store.scripts, store.keys, "u1", open);
          for (const { seq } of open) ended.set(seq, "expired");
          over = [];
        } else if (what === "ack") {
          await ack(count);
          for (const seq of seqs()) if (ended.get(seq) === "open") ended.set(seq, "acked");
        } else {
          await pass(2 * DAY_MS);
          await reconcile();
        }
      }
      if (count === 0) return;
      const kept = new Set(
        (await store.redis.xrange(inboxKey(), "-", "+")).map(([id]) => Number.parseInt(id, 10)),
      );
      for (const seq of seqs()) if (ended.get(seq) === "open") expect(kept.has(seq)).toBe(true);
      for (let since = 0; since <= count; since++) {
        const lacks = seqs().some((seq) => seq > since && !kept.has(seq) && ended.get(seq) === "acked");
        if (!lacks) continue;
        const page = await readInbox(store.scripts, store.keys, "u1", since, {
          maxEntries: 100,
          maxBytes: 1e6,
        });
        expect(page.isTrimmed).toBe(true);
      }
    }),
    { numRuns: 60 },
  );
});
