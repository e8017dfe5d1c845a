// Tests the scripts while Redis is out of memory.
// Guarantees: a refused call writes nothing. What frees memory, and what keeps users online, still works.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { message, openStore, routeLimits, type OpenStore } from "../../testing/redis/open-store.js";
import { isConnectionError } from "../connection/connect.js";
import { expireMessages } from "../inbox/expire-messages.js";
import { readFallback } from "../fallback/fallback-queue.js";
import { ProviderTokenStore } from "../fallback/provider-token-store.js";
import { connectRoute } from "../routes/connect-routes.js";
import { readRoutes } from "../routes/route-store.js";
import { readScripts, type ScriptName } from "../scripts/script-catalogue.js";
import { SigningKeysStore } from "../auth/signing-keys-store.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(async () => {
  await store.redis.config("SET", "maxmemory", "0");
  await store.clear();
});
afterAll(() => store.close());

const exhaust = () => store.redis.config("SET", "maxmemory", "1");
const connect = () =>
  connectRoute(
    store.scripts,
    store.keys,
    { userId: "u1", node: "n1", connection: "c1", platform: "web" },
    routeLimits,
  );

test("accept fails with a retryable error and changes nothing", async () => {
  await store.accepter().accept(message());
  const before = await store.snapshot();
  await exhaust();
  const refused = await store
    .accepter()
    .accept(message())
    .catch((error: unknown) => error);
  expect(refused).toMatchObject({ message: expect.stringMatching(/^OOM /) });
  expect(isConnectionError(refused)).toBe(true);
  expect(await store.snapshot()).toEqual(before);
});

test("the first accept ever leaves nothing behind", async () => {
  await exhaust();
  await expect(store.accepter().accept(message())).rejects.toThrow(/^OOM /);
  expect(await store.snapshot()).toEqual({});
});

test("a duplicate before a new message does not store the latter halfway", async () => {
  const full = store.accepter({ inboxCap: 1 });
  const given = message();
  await full.accept(given);
  const before = await store.snapshot();
  await exhaust();
  const results = await Promise.allSettled([given, message({ userId: "u2" })].map((one) => full.accept(one)));
  expect(results.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  expect(await store.snapshot()).toEqual(before);
});

test("if memory runs out in the middle of a burst, each call is stored completely or not at all", async () => {
  const used = Number(/^used_memory:(\d+)/m.exec(await store.redis.info("memory"))?.[1]);
  await store.redis.config("SET", "maxmemory", String(used + 1_500_000));
  const accepter = store.accepter();
  const data = JSON.stringify("x".repeat(2_000));
  const users = Array.from({ length: 20 }, (_, i) => `u${i}`);
  let stored = 0;
  let refused = 0;
  for (let round = 0; round < 60 && refused === 0; round++) {
    const results = await Promise.allSettled(
      users.map((userId) => accepter.accept(message({ userId, data }))),
    );
    stored += results.filter(({ status }) => status === "fulfilled").length;
    refused += results.filter(({ status }) => status === "rejected").length;
  }
  expect(stored).toBeGreaterThan(0);
  expect(refused).toBe(users.length);
  const { keys, redis } = store;
  const rounds = stored / users.length;
  for (const userId of users) {
    expect(await redis.hget(keys.user(userId), "seq")).toBe(String(rounds));
    expect(await redis.xlen(keys.inbox(userId))).toBe(rounds);
  }
  expect(await redis.xlen(keys.ready)).toBe(stored);
  expect(await redis.keys(keys.record("*"))).toHaveLength(stored);
  expect(await redis.zcard(keys.due)).toBe(users.length);
});

describe("what still works", () => {
  test("connections", async () => {
    await store.accepter().accept(message());
    await exhaust();
    expect(await connect()).toMatchObject({ outcome: "connected", seq: 1, after: 0 });
    expect(await readRoutes(store.scripts, store.keys, ["u1"])).toEqual([["n1"]]);
  });

  test("ends of expired messages", async () => {
    const stored = await store.accepter().accept(message({ id: "m1", ttlMs: 0 }));
    const epoch = stored.outcome === "stored" ? stored.epoch : "";
    await exhaust();
    expect(await expireMessages(store.scripts, store.keys, "u1", [{ seq: 1, epoch, id: "m1" }])).toBe(1);
  });

  test("reading offered messages, even if nobody has read the stream yet", async () => {
    const source = { keys: store.keys, priority: "normal" } as const;
    await store.accepter().accept(message({ fallback: "always", notification: "{}" }));
    await exhaust();
    expect(await readFallback(store.scripts, source, "w1", 1)).toHaveLength(1);
  });

  test("the key that identifies us to Apple, and those that sign tokens", async () => {
    await exhaust();
    const tokens = new ProviderTokenStore(store.scripts, [store.keys]);
    const named = { teamId: "T", keyId: "K", fingerprint: "f" };
    expect(await tokens.agree(named, { mintedAtMs: 1, token: "t" }, 1)).toEqual({
      mintedAtMs: 1,
      token: "t",
    });
    const signingKeys = new SigningKeysStore(store.scripts);
    expect(await signingKeys.replace((await signingKeys.read()).revision, [])).toMatchObject({
      isTaken: true,
    });
  });
});

describe("every script", () => {
  /** Each adds something that stays: refused if there is no room for it. */
  const refused: readonly ScriptName[] = [
    "accept-collapsing.v3",
    "accept-plain.v2",
    "accept.v6",
    "claim-device.v1",
    "keep-topic.v1",
    // The next send is refused again, that is all.
    "note-wechat-refusal.v1",
    // What is due waits, and is promoted when there is room.
    "promote-messages.v3",
    "promote-publications.v2",
    "publish-topic.v2",
    "register-device.v2",
    "replay-dead-letter.v2",
    "replay-schedule.v2",
    // Then nobody is asked to move either.
    "report-load.v1",
    "report-presence.v2",
    "schedule.v3",
    // A refused caller counts alone, see sliding-window-limiter.
    "take-from-window.v1",
  ];
  /** Only reads or removes: allowed without a flag. */
  const harmless: readonly ScriptName[] = [
    "check-token.v1",
    "count-events.v1",
    "list-presence.v1",
    "read-last-seen.v1",
    "read-presence.v1",
    "read-routes.v1",
    "trim-ready.v1",
  ];

  test("either works when Redis is out of memory, or is refused for a reason", () => {
    const others = [...readScripts().values()]
      .filter(({ source }) => !source.startsWith("#!lua flags=allow-oom\n"))
      .map(({ name }) => name);
    expect(others.sort()).toEqual([...refused, ...harmless].sort());
  });
});
