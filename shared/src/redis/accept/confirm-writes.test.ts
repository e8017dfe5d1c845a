// Tests how durable a write must be before it counts as stored.
// Guarantees: the server's version and settings decide the way. WAITAOF needs Redis 7.2, which may not be available:
// those tests use a server that answers as its documentation says.
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { createLogger } from "../../kernel/logging/logging.js";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { startRedis, type TestRedis } from "../../testing/redis/start-redis.js";
import { waitFor } from "../../testing/wait-for.js";
import { chooseAofWay, chooseConfirmation, parseAcceptDurability } from "./confirm-writes.js";
import { connectRedis, type Redis, type SingleRedis } from "../connection/connect.js";

const logger = createLogger({ service: "test", level: "silent" });
let store: OpenStore;
let replica: TestRedis;
beforeAll(async () => {
  store = await openStore();
  const extraArgs = [
    "--replicaof",
    "127.0.0.1",
    String(store.server.port),
    "--repl-diskless-sync-delay",
    "0",
  ];
  replica = await startRedis({ extraArgs });
  await waitFor(async () => (await store.redis.wait(1, 100)) === 1, { what: "the replica" });
});
afterAll(async () => {
  replica?.signal("SIGCONT");
  await replica?.stop();
  await store.close();
});

test.each([
  ["memory", { kind: "memory" }],
  ["aof", { kind: "aof" }],
  ["replicas:2", { kind: "replicas", count: 2 }],
])("%s", (text, durability) => {
  expect(parseAcceptDurability(text)).toEqual(durability);
});

test.each(["disk", "replicas", "replicas:0", "replicas:17", "replicas:-1", "AOF"])(
  "%s is not a setting",
  (text) => {
    expect(() => parseAcceptDurability(text)).toThrow("memory, aof or replicas:N with N from 1 to 16");
  },
);

const on = (appendfsync: string, appendonly = "yes", noAppendfsyncOnRewrite = "no") => ({
  appendonly,
  appendfsync,
  noAppendfsyncOnRewrite,
});
const redisOf = (version: string) => ({ product: "Redis" as const, version });
const valkeyOf = (version: string) => ({ product: "Valkey" as const, version });

test.each([
  [redisOf("7.2.0"), on("everysec"), "wait-for-next-sync"],
  [redisOf("8.0.1"), on("everysec"), "wait-for-next-sync"],
  [redisOf("8.0.1"), on("always"), "wait"],
  [redisOf("7.4.2"), on("always", "yes", "yes"), "wait"],
  [valkeyOf("7.2.5"), on("always"), "wait"],
  [valkeyOf("9.1.2"), on("always"), "wait"],
  [redisOf("7.0.15"), on("always"), "answer"],
])("%j with %j: %s", (version, settings, way) => {
  expect(chooseAofWay(version, settings)).toBe(way);
});

test.each([
  [
    redisOf("7.0.15"),
    on("everysec"),
    /^Redis cannot give ACCEPT_DURABILITY=aof: Redis 7\.0\.15 has no WAITAOF/,
  ],
  [redisOf("7.2.0"), on("everysec", "no"), /appendonly is no; set it to yes\.$/],
  [redisOf("7.0.15"), on("always", "no"), /appendonly is no; set it to yes\.$/],
  [redisOf("7.4.0"), on("no"), /appendfsync is no; set it to always\.$/],
  [
    redisOf("7.4.0"),
    on("everysec"),
    /appendfsync is everysec, under which WAITAOF of Redis 7\.4\.0 answers before the sync; set it to always\.$/,
  ],
  [valkeyOf("7.2.5"), on("everysec"), /WAITAOF of Valkey 7\.2\.5 answers before the sync/],
  [valkeyOf("9.1.2"), on("everysec"), /WAITAOF of Valkey 9\.1\.2 answers before the sync/],
  [redisOf("7.0.15"), on("always", "yes", "yes"), /no-appendfsync-on-rewrite is yes; set it to no\.$/],
])("refuses %j with %j", (version, settings, reason) => {
  expect(() => chooseAofWay(version, settings)).toThrow(reason);
});

test("reads the settings from the server", async () => {
  const choose = () => chooseConfirmation(store.redis, { kind: "aof" }, 5_000, logger);
  await expect(choose()).rejects.toMatchObject({
    code: "PETREL_UNAVAILABLE",
    message: "Redis cannot give ACCEPT_DURABILITY=aof: appendonly is no; set it to yes.",
  });
  await store.redis.config("SET", "appendonly", "yes", "appendfsync", "always");
  try {
    // A rewrite copies memory to the file first: what was stored before counts as synced only when it is done.
    await waitFor(async () => /^aof_rewrite_in_progress:0\r$/m.test(await store.redis.info("persistence")), {
      what: "the file",
    });
    // With Redis 7.2 or newer, WAITAOF confirms it once more.
    await (
      await choose()
    )?.(store.redis as SingleRedis);
  } finally {
    await store.redis.config("SET", "appendonly", "no");
  }
});

/** Replaces the answers of the server here, which may be too old for WAITAOF. */
function answering(answer: readonly [number, number], asked: unknown[]): SingleRedis {
  const info = "redis_version:7.2.4\r\n";
  return new Proxy(store.redis as SingleRedis, {
    get: (redis, property) => {
      if (property === "info") return () => Promise.resolve(info);
      if (property === "config")
        return () =>
          Promise.resolve([
            "appendonly",
            "yes",
            "appendfsync",
            "everysec",
            "no-appendfsync-on-rewrite",
            "no",
          ]);
      if (property === "call") {
        return (...words: unknown[]) => {
          asked.push(words);
          return Promise.resolve(answer);
        };
      }
      const value: unknown = Reflect.get(redis, property);
      return typeof value === "function" ? value.bind(redis) : value;
    },
  });
}

test("WAITAOF asks for this server's own file, and its answer is checked", async () => {
  const asked: unknown[] = [];
  const good = answering([1, 0], asked);
  await (
    await chooseConfirmation(good, { kind: "aof" }, 250, logger)
  )?.(good);
  expect(asked).toEqual([["WAITAOF", 1, 0, 250]]);
  const bad = answering([0, 0], asked);
  const confirm = await chooseConfirmation(bad, { kind: "aof" }, 250, logger);
  await expect(confirm?.(bad)).rejects.toMatchObject({
    code: "PETREL_UNAVAILABLE",
    retryAfterSeconds: 1,
    message: "The message has reached only memory in time; send it again.",
  });
});

test("warns once at the start if writes wait for the next sync", async () => {
  const warn = vi.fn();
  await chooseConfirmation(answering([1, 0], []), { kind: "aof" }, 250, { warn });
  expect(warn).toHaveBeenCalledTimes(1);
  expect(warn.mock.calls[0]?.[1]).toContain("every message waits for the next sync");
});

test("memory asks for nothing", async () => {
  expect(await chooseConfirmation(store.redis, { kind: "memory" }, 100, logger)).toBeUndefined();
});

test("replicas: stored only when they have it; a duplicate waits like the original, whoever sent that", async () => {
  const confirm = await chooseConfirmation(store.redis, { kind: "replicas", count: 1 }, 200, logger);
  if (confirm === undefined) throw new Error("nothing to wait for");
  const accepter = store.accepter({ confirm });
  // On a busy machine a replica may be late: what it has not confirmed is sent again.
  const confirmed = (id: string) => waitFor(() => accepter.accept(message({ id })), { what: "the replica" });
  expect(["stored", "exists"]).toContain((await confirmed("whole")).outcome);
  replica.signal("SIGSTOP");
  // Another client stored this over another connection, without waiting.
  const other: Redis = await connectRedis({ url: store.server.url, role: "other", logger });
  await store.accepter().accept(message({ id: "halved" }));
  for (const id of ["alone", "halved", "alone"]) {
    await expect(accepter.accept(message({ id }))).rejects.toMatchObject({
      code: "PETREL_UNAVAILABLE",
      message: "The message has reached only 0 of 1 replicas in time; send it again.",
    });
  }
  replica.signal("SIGCONT");
  other.disconnect();
  for (const id of ["halved", "alone"]) expect(await confirmed(id)).toMatchObject({ outcome: "exists" });
});

test("a script that Redis has lost is not sent behind the confirmation, but again, by the caller", async () => {
  const confirm = await chooseConfirmation(store.redis, { kind: "replicas", count: 1 }, 1_000, logger);
  if (confirm === undefined) throw new Error("nothing to wait for");
  const accepter = store.accepter({ confirm });
  await store.redis.script("FLUSH");
  await expect(accepter.accept(message({ id: "flushed" }))).rejects.toThrow(/^NOSCRIPT/);
  await waitFor(async () => (await accepter.accept(message({ id: "flushed" }))).outcome === "stored", {
    what: "the scripts to be loaded",
  });
});
