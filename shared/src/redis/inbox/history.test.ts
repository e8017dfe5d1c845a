// Tests which acknowledged and expired messages stay in an inbox, and what readers are told about the others.
// Guarantees: a reader is told about everything that it has not had and that did not end by itself; open messages are
// never trimmed; what has ended, or was acknowledged long ago, takes no room.
import * as fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { ackUsers } from "./ack-users.js";
import { expireMessages } from "./expire-messages.js";
import { holdHistory } from "./hold-history.js";
import { readInbox } from "./read-inbox.js";
import { connectRoute } from "../routes/connect-routes.js";

const HISTORY = { history: 10, slowHistory: 200 };
const HOUR_MS = 3_600_000;
const limits = {
  leaseMs: HOUR_MS,
  maxConnectionsPerUser: 5,
  whenFull: "evict",
  ackTimeoutMs: 1,
  ...HISTORY,
} as const;

let store: OpenStore;
let epoch = "";
beforeAll(async () => void (store = await openStore()));
beforeEach(async () => {
  await store.clear();
  // XTRIM drops whole nodes of the stream: small nodes leave little beyond what must stay.
  await store.redis.config("SET", "stream-node-max-entries", "4");
});
afterAll(() => store.close());

async function accept(ttlsMs: readonly number[]): Promise<void> {
  const accepter = store.accepter();
  for (const result of await Promise.all(ttlsMs.map((ttlMs) => accepter.accept(message({ ttlMs }))))) {
    if (result.outcome === "stored") ({ epoch } = result);
  }
}
const lasting = (count: number): number[] => Array.from({ length: count }, () => HOUR_MS);
const over = (count: number): number[] => Array.from({ length: count }, () => 0);
const ack = (seq: number) =>
  ackUsers(store.scripts, store.keys, [{ userId: "u1", epoch, seq }], HISTORY.history, HISTORY.slowHistory);
const hold = (connection: string, lastSent: number | undefined, of = epoch) =>
  holdHistory(store.scripts, store.keys, { userId: "u1", connection, epoch: of, lastSent }, HISTORY);
const read = (after: number, connection?: string, maxEntries = 1_000) =>
  readInbox(store.scripts, store.keys, "u1", after, {
    maxEntries,
    maxBytes: 1e9,
    ...(connection === undefined ? {} : { reader: { connection, epoch } }),
  });
const kept = async () => (await read(0)).messages.map(({ seq }) => seq);
const field = (name: string) => store.redis.hget(store.keys.user("u1"), name);
/** As the dispatcher does: all that is open and has expired. */
async function expire(): Promise<void> {
  const { messages, nowMs } = await read(Number(await field("acked")));
  const ended = messages.filter(({ expiresAtMs }) => expiresAtMs <= nowMs);
  if (ended.length > 0) await expireMessages(store.scripts, store.keys, "u1", ended);
}
const connect = (connection: string, since?: number) =>
  connectRoute(
    store.scripts,
    store.keys,
    {
      userId: "u1",
      node: "n.1",
      connection,
      platform: "web",
      ...(since === undefined ? {} : { position: { epoch, since } }),
    },
    limits,
  );

describe("a device that is behind", () => {
  test("keeps what others acknowledge, for itself, up to the bound", async () => {
    await accept(lasting(150));
    await hold("c1", 20);
    await ack(150);
    expect((await kept())[0]).toBeLessThanOrEqual(21);
    await accept(lasting(150));
    await ack(300);
    // 200 of 300: it lacks more than may be kept.
    const [first = 0] = await kept();
    expect(first).toBeGreaterThan(90);
    expect(first).toBeLessThanOrEqual(101);
    expect((await read(20)).isTrimmed).toBe(true);
    expect((await read(first - 1)).isTrimmed).toBe(false);
  });

  test("is recorded when it reads a page, and when it connects far behind", async () => {
    await accept(lasting(150));
    expect(await connect("c1")).toMatchObject({ isHeld: true });
    await ack(150);
    expect(await kept()).toHaveLength(150);
    expect(await read(0, "c1", 100)).toMatchObject({ isHeld: true, isTrimmed: false });
    await accept(lasting(64));
    await ack(214);
    expect((await kept())[0]).toBeGreaterThan(90);
    expect((await read(100, "c1", 150)).messages.map(({ seq }) => seq)).toEqual(
      Array.from({ length: 114 }, (_, i) => 101 + i),
    );
  });

  test("releases what was kept for it once it is up to date, but not what another still lacks", async () => {
    await accept(lasting(150));
    await hold("c1", 20);
    await hold("c2", 80);
    await ack(150);
    await hold("c1", undefined);
    const [first = 0] = await kept();
    expect(first).toBeGreaterThan(20);
    expect(first).toBeLessThanOrEqual(81);
    await hold("c2", undefined);
    expect((await kept()).length).toBeLessThan(HISTORY.history + 4);
    expect(await field("slow")).toBeNull();
  });

  test("is trusted for a minute, also by a clock that was set back", async () => {
    await accept(lasting(150));
    const nowMs = await store.nowMs();
    await store.redis.hset(store.keys.user("u1"), "slow", `c1:20:${nowMs - 1} c2:20:${nowMs + HOUR_MS}`);
    await ack(150);
    expect((await kept()).length).toBeLessThan(HISTORY.history + 4);
  });

  test("changes nothing in an epoch that is not the user's, nor without a user", async () => {
    await accept(lasting(1));
    const before = await store.snapshot();
    await hold("c1", 0, "another.0");
    expect(await store.snapshot()).toEqual(before);
    await store.clear();
    await hold("c1", 0);
    expect(await store.snapshot()).toEqual({});
  });

  test("leaves only a short list when many come and go", async () => {
    await accept(lasting(1));
    for (let i = 0; i < 40; i++) await hold(`c${i}`, 0);
    expect((await field("slow"))?.split(" ")).toHaveLength(16);
  });
});

describe("trimmed messages", () => {
  test("are reported to a reader that has not had them, and to a client that resumes before them, which continues after them", async () => {
    await accept(lasting(128));
    await ack(128);
    const [first = 0] = await kept();
    expect(await read(50)).toMatchObject({ isTrimmed: true });
    expect(await read(first - 1)).toMatchObject({ isTrimmed: false });
    expect(await connect("c1", 50)).toMatchObject({ resumed: false, after: first - 1 });
    expect(await connect("c2", first - 1)).toMatchObject({ resumed: true, after: first - 1 });
  });

  test("by an older release, which recorded nothing", async () => {
    await accept([...over(10), ...lasting(118)]);
    await expire();
    await store.redis.hset(store.keys.user("u1"), "acked", "128");
    await store.redis.xtrim(store.keys.inbox("u1"), "MINID", "100-0");
    expect(await read(5)).toMatchObject({ isTrimmed: true });
    expect(await read(50)).toMatchObject({ isTrimmed: true });
    expect(await read(99)).toMatchObject({ isTrimmed: false });
  });

  test("are trimmed by a position that moves `acked`, as by an ack", async () => {
    await accept(lasting(128));
    await connect("c1", 128);
    await hold("c1", undefined);
    expect((await kept()).length).toBeLessThan(HISTORY.history + 4);
    for (let i = 1; i <= 20; i++) {
      await accept(lasting(20));
      await connect("c1", 128 + 20 * i);
    }
    expect((await kept()).length).toBeLessThan(HISTORY.history + 4);
  });
});

describe("expired messages", () => {
  test("leave the inbox as `acked` moves over them: a user who never acknowledges does not fill it", async () => {
    const accepter = store.accepter({ inboxCap: 100 });
    for (let round = 0; round < 40; round++) {
      const results = await Promise.all(
        Array.from({ length: 100 }, () => accepter.accept(message({ ttlMs: 0 }))),
      );
      expect(results.every(({ outcome }) => outcome === "stored")).toBe(true);
      if (round === 0 && results[0]?.outcome === "stored") ({ epoch } = results[0]);
      await expire();
    }
    expect(await store.redis.xlen(store.keys.inbox("u1"))).toBe(0);
    expect(await field("acked")).toBe("4000");
  });

  test("are no loss to anyone", async () => {
    await accept([...lasting(5), ...over(200)]);
    await ack(5);
    await expire();
    expect(await kept()).toEqual([1, 2, 3, 4, 5]);
    expect(await read(3)).toMatchObject({ isTrimmed: false });
    expect(await read(20)).toMatchObject({ isTrimmed: false });
    await accept(lasting(1));
    await ack(206);
    expect((await kept())[0]).toBeGreaterThan(4);
    expect(await read(20)).toMatchObject({ isTrimmed: false });
    expect(await connect("c1", 20)).toMatchObject({ resumed: true, after: 20 });
    // Another device acknowledged these.
    expect(await read(3)).toMatchObject({ isTrimmed: true });
  });

  test("stay behind an open message, and count towards the cap", async () => {
    await accept([...lasting(1), ...over(3)]);
    await expire();
    expect(await kept()).toEqual([1, 2, 3, 4]);
    const accepter = store.accepter({ inboxCap: 4 });
    expect(await accepter.accept(message())).toEqual({ outcome: "inbox-full" });
    await ack(1);
    await expire();
    expect(await kept()).toEqual([1]);
  });

  test("left by an older release are removed too, a part at a time", async () => {
    await accept(over(1_200));
    // As if that release had moved over it.
    await store.redis.hset(store.keys.user("u1"), "acked", "1200");
    for (let round = 0; round < 20; round++) {
      await accept(over(1));
      await expire();
    }
    expect(await store.redis.xlen(store.keys.inbox("u1"))).toBeLessThanOrEqual(1_000);
  });
});

const step = fc.oneof(
  fc.record({
    do: fc.constant("accept" as const),
    ttls: fc.array(fc.constantFrom(0, 0, HOUR_MS), { minLength: 1, maxLength: 90 }),
  }),
  fc.record({ do: fc.constant("over" as const), count: fc.integer({ min: 1, max: 90 }) }),
  fc.record({ do: fc.constant("ack" as const), back: fc.integer({ min: 0, max: 60 }) }),
  fc.record({ do: fc.constant("expire" as const) }),
  fc.record({
    do: fc.constant("read" as const),
    who: fc.constantFrom(0, 1),
    max: fc.integer({ min: 1, max: 60 }),
  }),
  fc.record({ do: fc.constant("hold" as const), who: fc.constantFrom(0, 1), isBehind: fc.boolean() }),
);

test("whatever happens: no reader silently misses anything that did not end, and nothing open is gone", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
      await store.redis.flushall();
      const ttlOf: number[] = [];
      const positions = [0, 0];
      let acked = 0;
      const grow = async (ttls: readonly number[]) => {
        await accept(ttls);
        ttlOf.push(...ttls);
      };
      await grow(lasting(1));
      for (const one of steps) {
        if (one.do === "accept") await grow(one.ttls);
        else if (one.do === "over") await grow(over(one.count));
        else if (one.do === "ack") await ack(Math.max(0, ttlOf.length - one.back));
        else if (one.do === "expire") await expire();
        else if (one.do === "hold") await hold(`c${one.who}`, one.isBehind ? positions[one.who] : undefined);
        else {
          const from = positions[one.who] ?? 0;
          const page = await read(from, `c${one.who}`, one.max);
          const to = page.messages.at(-1)?.seq ?? ttlOf.length;
          const got = new Set(page.messages.map(({ seq }) => seq));
          const missed: number[] = [];
          for (let seq = from + 1; seq <= to; seq++) {
            if (!got.has(seq) && ttlOf[seq - 1] !== 0) missed.push(seq);
          }
          if (page.isTrimmed) expect(got.has(from + 1)).toBe(false);
          else expect(missed).toEqual([]);
          positions[one.who] = to;
        }
        acked = Number(await field("acked"));
        const open = (await read(acked)).messages.map(({ seq }) => seq);
        expect(open).toEqual(Array.from({ length: ttlOf.length - acked }, (_, i) => acked + 1 + i));
      }
    }),
    { numRuns: sized(60, 25) },
  );
});
