// Tests messages with a collapse key, on a real Redis.
// Guarantees: of a user's unacknowledged messages with one key, only the newest is in the inbox, unless an older one is
// being sent; each of the others has exactly one end, with the reason.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createRegistry } from "../../kernel/metrics/metrics.js";
import { joinNotification } from "../../protocol/messages/notification-text.js";
import { message } from "../../testing/redis/open-store.js";
import {
  NOTIFICATION,
  openCollapsing,
  settlements,
  type OpenCollapsing,
} from "../../testing/stores/open-collapsing.js";
import { keepDeviceSends } from "../fallback/device-sends-store.js";
import type { TakenEntry } from "../fallback/fallback-queue.js";
import { settleFallback, type Settlement } from "../fallback/settle-fallback.js";
import { beginSend } from "../recall/begin-send.js";
import { cancelMessage } from "../recall/cancel-message.js";

let store: OpenCollapsing;
beforeAll(async () => void (store = await openCollapsing()));
beforeEach(() => store.clear());
afterAll(() => store.close());

describe("messages with one collapse key", () => {
  test("leave only the newest in the inbox; the others state why they ended, and block nothing", async () => {
    await store.accept("a");
    for (const id of ["k1", "k2", "k3"]) await store.accept(id, "score");
    await store.accept("l1", "other");
    expect(await store.inboxOf()).toEqual(["a", "k3", "l1"]);
    expect([
      await store.endOf("k1"),
      await store.endOf("k2"),
      await store.endOf("k3"),
      await store.endOf("l1"),
    ]).toEqual(["expired PETREL_COLLAPSED", "expired PETREL_COLLAPSED", "queued", "queued"]);
    expect(await store.user()).toMatchObject({ acked: "0", seq: "5", takenOut: "3" });
    await store.accept("k4", "score");
    await cancelMessage(store.scripts, store.scripts, store.keys, "a");
    // 1 to 4 have ended, 5 is open.
    expect(await store.user()).toMatchObject({ acked: "4", ended: "0 4" });
  });

  test("of one call collapse each other, too, also across users", async () => {
    const accepter = store.accepter();
    const results = await Promise.all([
      accepter.accept(message({ id: "a1", collapseKey: "k" })),
      accepter.accept(message({ id: "b1", userId: "u2", collapseKey: "k" })),
      accepter.accept(message({ id: "a2", collapseKey: "k" })),
      accepter.accept(message({ id: "plain" })),
      accepter.accept(
        message({ id: "a3", collapseKey: "k", fallback: "always", notification: NOTIFICATION }),
      ),
      accepter.accept(
        message({ id: "a3", collapseKey: "k", fallback: "always", notification: NOTIFICATION }),
      ),
    ]);
    expect(results.map(({ outcome }) => outcome)).toEqual([...Array<string>(5).fill("stored"), "exists"]);
    expect(await store.inboxOf()).toEqual(["plain", "a3"]);
    expect([await store.endOf("a1"), await store.endOf("a2"), await store.endOf("b1")]).toEqual([
      "expired PETREL_COLLAPSED",
      "expired PETREL_COLLAPSED",
      "queued",
    ]);
  });

  test("keep their state if acknowledged, pushed or failed, whatever is acknowledged later", async () => {
    await store.accept("k1", "k");
    await store.ack(1);
    for (const [id, end] of [
      ["k2", "pushed 5 apns"],
      ["k3", "failed 5 rejected"],
    ] as const) {
      await store.accept(id, "k");
      await store.redis.append(store.keys.record(id), `\t${end}`);
    }
    await store.accept("k4", "k");
    expect(await store.inboxOf(1)).toEqual(["k4"]);
    await store.ack(4);
    expect([
      await store.endOf("k1"),
      await store.endOf("k2"),
      await store.endOf("k3"),
      await store.endOf("k4"),
    ]).toEqual(["delivered", "pushed", "failed", "delivered"]);
  });

  test("pass a nudge on, with its time", async () => {
    await store.accept("k1", "k");
    await store.redis.hset(store.keys.user("u1"), "nudged", "1", "nudgedAt", "77");
    await store.accept("k2", "k");
    expect(await store.user()).toMatchObject({ nudged: "2", nudgedAt: "77" });
    await store.accept("l", "l");
    await store.accept("l2", "l");
    expect(await store.user()).toMatchObject({ nudged: "2", nudgedAt: "77" });
  });

  test("that have expired end as such, without a reason", async () => {
    await store.accept("k1", "k", { ttlMs: 0 });
    await store.accept("k2", "k");
    expect(await store.endOf("k1")).toBe("expired");
  });

  test("whose record is gone get one, with its end", async () => {
    await store.accept("k1", "k");
    await store.redis.del(store.keys.record("k1"));
    await store.accept("k2", "k");
    expect(await store.endOf("k1")).toBe("expired PETREL_COLLAPSED");
  });

  test("are accepted by a full inbox in place of another; one more is not", async () => {
    const accepter = store.accepter({ inboxCap: 2 });
    const give = (id: string, collapseKey: string) => accepter.accept(message({ id, collapseKey }));
    for (const [id, key] of [
      ["k1", "k"],
      ["l1", "l"],
      ["k2", "k"],
      ["l2", "l"],
      ["l3", "l"],
    ] as const) {
      expect((await give(id, key)).outcome, id).toBe("stored");
    }
    expect((await give("m1", "m")).outcome).toBe("inbox-full");
    expect(await store.inboxOf()).toEqual(["k2", "l3"]);
  });

  test("collapse nothing when repeated", async () => {
    await store.accept("k1", "k");
    await store.accept("k2", "k");
    const before = await store.snapshot();
    expect((await store.accept("k1", "k")).outcome).toBe("exists");
    const after = await store.snapshot();
    expect(after[store.keys.inbox("u1")]).toEqual(before[store.keys.inbox("u1")]);
    expect(await store.endOf("k2")).toBe("queued");
  });

  test("keep a hash of keys of at most twice what is open, which ends with the inbox", async () => {
    for (let n = 1; n <= 200; n++) {
      await store.accept(`m${n}`, `key ${n}`);
      await store.ack(n);
      await store.redis.xtrim(store.keys.inbox("u1"), "MAXLEN", 1);
    }
    expect(await store.redis.hlen(store.keys.collapsed("u1"))).toBeLessThanOrEqual(70);
    expect(await store.redis.pttl(store.keys.collapsed("u1"))).toBeGreaterThan(86_400_000);
  });

  test("count once each among the ended messages", async () => {
    const registry = createRegistry("test");
    store.scripts.ends.register(registry);
    const count = async (): Promise<number> => {
      const metric = await registry.getSingleMetric("petrel_messages_ended_total")?.get();
      return metric?.values.find(({ labels }) => labels["state"] === "expired")?.value ?? 0;
    };
    const before = await count();
    for (const id of ["k1", "k2", "k3"]) await store.accept(id, "k");
    expect((await count()) - before).toBe(2);
  });
});

describe("a message that is being sent while a newer one comes", () => {
  async function sendWhile(key: string): Promise<TakenEntry> {
    const notification = joinNotification(NOTIFICATION, { collapseKey: key });
    await store.accept("k1", key, { notification });
    const entry = await store.enter("k1", 1, notification);
    expect(await beginSend(store.scripts, store.keys, entry.message, { name: "s", keepMs: 60_000 })).toBe(
      true,
    );
    await store.accept("k2", key, { notification });
    expect(await store.inboxOf()).toEqual(["k1", "k2"]);
    expect(await store.endOf("k1")).toBe("queued");
    return entry;
  }
  const settle = (entry: TakenEntry, settlement: Settlement) =>
    settleFallback(store.scripts, entry, settlement, {
      attempts: 1,
      notes: [],
      deadLettersCap: 10,
      sendName: "s",
    });

  test.each([
    ["taken", "pushed"],
    ["dropped", "expired PETREL_COLLAPSED"],
    ["retry", "expired PETREL_COLLAPSED"],
    ["failed", "failed"],
  ])("is left alone, and leaves the inbox once it is %s", async (outcome, end) => {
    const entry = await sendWhile(`a "key" \\ with quotes`);
    await settle(entry, settlements[outcome] ?? { outcome: "dropped" });
    expect(await store.inboxOf()).toEqual(["k2"]);
    expect(await store.endOf("k1")).toBe(end);
    expect(await store.user()).toMatchObject({ acked: "1", ended: "0 1" });
    expect(await store.redis.zcard(store.keys.retries)).toBe(0);
    await store.ack(2);
    expect([await store.endOf("k1"), await store.endOf("k2")]).toEqual([end, "delivered"]);
  });

  test("is retried if one of the user's devices has it", async () => {
    const entry = await sendWhile("k");
    const { epoch = "" } = await store.user();
    const sent = { id: "k1", seq: 1, epoch, expiresAtMs: 9e12 };
    await keepDeviceSends(store.scripts, store.keys, sent, new Set(["d"]));
    await settle(entry, { outcome: "retry", delayMs: 0 });
    expect(await store.redis.zcard(store.keys.retries)).toBe(1);
    await store.accept("k3", "k");
    expect(await store.inboxOf()).toEqual(["k1", "k3"]);
  });

  test("is removed by the next one if its sender has died", async () => {
    await sendWhile("k");
    await store.redis.del(store.keys.sending("k1"));
    await store.accept("k3", "k");
    expect(await store.inboxOf()).toEqual(["k3"]);
    expect([await store.endOf("k1"), await store.endOf("k2")]).toEqual([
      "expired PETREL_COLLAPSED",
      "expired PETREL_COLLAPSED",
    ]);
  });
});
