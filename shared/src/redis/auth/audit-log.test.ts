// Tests the audit log on a real Redis: what is noted, found, and removed, and what happens when Redis does not answer.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import { createLogger, type Logger } from "../../kernel/logging/logging.js";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { type Act, AuditLog, type AuditQuery } from "./audit-log.js";
import { connectRedis } from "../connection/connect.js";
import { clusterKeys } from "../keys.js";
import { ScriptRunner } from "../scripts/script-runner.js";

const silent = createLogger({ service: "test", level: "silent" });
let store: OpenStore;
let audit: AuditLog;
beforeAll(async () => {
  store = await openStore();
  audit = new AuditLog({ scripts: store.scripts, logger: silent, maxEntries: 1_000, keepDays: 30 });
});
beforeEach(() => store.clear());
afterAll(() => store.close());

function revoke(target: string, more: Partial<Act> = {}): Act {
  return { actor: "key:admin", action: "key.revoke", target, ...more };
}

async function targets(query: AuditQuery): Promise<string[]> {
  return (await audit.list(query)).items.map(({ target }) => target);
}

test("finds an entry with all its fields and Redis' time", async () => {
  const beforeMs = await store.nowMs();
  await audit.record(revoke("k1", { details: { owner: "shop", messages: 3, forced: true } }));
  const { items, nextCursor } = await audit.list({ limit: 10 });
  expect(items).toEqual([
    {
      id: expect.stringMatching(/^\d+-\d+$/),
      atMs: expect.any(Number),
      actor: "key:admin",
      action: "key.revoke",
      target: "k1",
      details: { owner: "shop", messages: 3, forced: true },
    },
  ]);
  expect(items[0]?.atMs).toBeGreaterThanOrEqual(beforeMs);
  expect(nextCursor).toBeUndefined();
});

test("pages run from the newest to the oldest, each entry once", async () => {
  for (let i = 0; i < 7; i++) await audit.record(revoke(`k${i}`));
  const seen: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await audit.list({ limit: 3, cursor });
    seen.push(...page.items.map(({ target }) => target));
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  expect(seen).toEqual(["k6", "k5", "k4", "k3", "k2", "k1", "k0"]);
});

test("filters by actor, action and target, each exactly", async () => {
  await audit.record(revoke("k1"));
  await audit.record(revoke("k10", { actor: "key:admin2" }));
  await audit.record(revoke("alice", { actor: "user:alice", action: "token.revoke" }));
  expect(await targets({ limit: 10, actor: "key:admin" })).toEqual(["k1"]);
  expect(await targets({ limit: 10, action: "token.revoke" })).toEqual(["alice"]);
  expect(await targets({ limit: 10, targets: ["k1"] })).toEqual(["k1"]);
  expect(await targets({ limit: 10, targets: ["k1", "alice"] })).toEqual(["alice", "k1"]);
  expect(await targets({ limit: 10, actor: "key:admin", action: "token.revoke" })).toEqual([]);
});

test("a filter with few matches reads a bounded amount per request and says where to continue", async () => {
  const entries = 10_200;
  const pipeline = store.redis.pipeline();
  pipeline.xadd(clusterKeys.audit, "1-1", "n", "x", "a", "file", "c", "key.create", "t", "old", "d", "{}");
  for (let i = 0; i < entries; i++) {
    pipeline.xadd(clusterKeys.audit, "*", "n", "x", "a", "file", "c", "key.update", "t", `k${i}`, "d", "{}");
  }
  await pipeline.exec();
  const first = await audit.list({ limit: 10, action: "key.create" });
  expect(first.items).toEqual([]);
  expect(first.nextCursor).toMatch(/^\d+-\d+$/);
  const second = await audit.list({ limit: 10, action: "key.create", cursor: first.nextCursor });
  expect(second.items.map(({ target }) => target)).toEqual(["old"]);
  expect(second.nextCursor).toBeUndefined();
});

test("removes the oldest beyond the bound, and expired ones", async () => {
  const small = new AuditLog({ scripts: store.scripts, logger: silent, maxEntries: 100, keepDays: 30 });
  for (let i = 0; i < 400; i++) await small.record(revoke(`k${i}`, { actor: `key:${i % 40}` }));
  const kept = await store.redis.xlen(clusterKeys.audit);
  // "About": Redis drops whole nodes of its tree, of a hundred entries by default.
  expect(kept).toBeGreaterThanOrEqual(100);
  expect(kept).toBeLessThanOrEqual(201);
  expect(await targets({ limit: 1 })).toEqual(["k399"]);

  await store.clear();
  const now = await store.nowMs();
  const day = 24 * 60 * 60 * 1000;
  const fields = ["n", "x", "a", "file", "c", "key.create", "t"] as const;
  await store.redis.xadd(clusterKeys.audit, `${now - 31 * day}-0`, ...fields, "over", "d", "{}");
  await store.redis.xadd(clusterKeys.audit, `${now - 29 * day}-0`, ...fields, "kept", "d", "{}");
  await audit.record(revoke("new"));
  expect(await targets({ limit: 10 })).toEqual(["new", "kept"]);
});

test("a busy actor pushes out its own entries, nobody else's", async () => {
  const small = new AuditLog({ scripts: store.scripts, logger: silent, maxEntries: 1_000, keepDays: 30 });
  const flood = { actor: "key:shop", action: "token.revoke" } as const;
  await small.record(revoke("k1"));
  await small.record({ actor: "system", action: "signing-key.rotate", target: "s1" });
  const acts = sized(1_500, 400);
  for (let i = 0; i < acts; i++) await small.record({ ...flood, target: `j${i}` });
  for (let i = 0; i < 150; i++) {
    await small.record({ actor: "system", action: "token.revoke", target: `u${i}` });
  }
  expect(await targets({ limit: 1_000, actor: "key:admin" })).toEqual(["k1"]);
  expect(await targets({ limit: 1_000, actor: "system", action: "signing-key.rotate" })).toEqual(["s1"]);
  // A tenth of the log, the newest of it.
  const kept = await targets({ limit: 1_000, actor: flood.actor });
  expect(kept).toEqual(Array.from({ length: 100 }, (_, i) => `j${acts - 1 - i}`));
  expect(await store.redis.xlen(clusterKeys.audit)).toBe(202);
  expect(await store.redis.pttl(clusterKeys.auditShare("key:shop"))).toBeGreaterThan(29 * 86_400_000);
});

test("the previous release's entries count towards nobody's share, and stay", async () => {
  const small = new AuditLog({ scripts: store.scripts, logger: silent, maxEntries: 100, keepDays: 30 });
  const fields = ["n", "x", "a", "key:shop", "c", "token.revoke", "t"] as const;
  for (let i = 0; i < 20; i++)
    await store.redis.xadd(clusterKeys.audit, "*", ...fields, `old${i}`, "d", "{}");
  for (let i = 0; i < 15; i++) {
    await small.record({ actor: "key:shop", action: "token.revoke", target: `j${i}` });
  }
  const kept = await targets({ limit: 100, actor: "key:shop" });
  expect(kept.filter((target) => target.startsWith("old"))).toHaveLength(20);
  expect(kept.filter((target) => target.startsWith("j"))).toHaveLength(10);
});

test("reaches a reduced share step by step", async () => {
  const large = new AuditLog({ scripts: store.scripts, logger: silent, maxEntries: 5_000, keepDays: 30 });
  for (let i = 0; i < 300; i++) await large.record(revoke(`k${i}`));
  const small = new AuditLog({ scripts: store.scripts, logger: silent, maxEntries: 1_000, keepDays: 30 });
  for (let i = 300; i < 305; i++) await small.record(revoke(`k${i}`));
  expect(await targets({ limit: 1_000 })).toHaveLength(100);
  expect(await targets({ limit: 1 })).toEqual(["k304"]);
});

test("cuts long texts; reads foreign entries as nothing", async () => {
  await audit.record(revoke("t".repeat(2_000), { details: { reason: "r".repeat(2_000) } }));
  const [entry] = (await audit.list({ limit: 1 })).items;
  expect(entry?.target).toHaveLength(512);
  expect(entry?.details["reason"]).toHaveLength(512);
  await store.redis.xadd(clusterKeys.audit, "*", "d", "{not json");
  const [strange] = (await audit.list({ limit: 1 })).items;
  expect(strange).toMatchObject({ actor: "", action: "", target: "", details: {} });
});

describe("if Redis does not answer", () => {
  test("retries, and records once though the first try had arrived", async () => {
    const lossy = new LossyRunner(store.redis);
    lossy.lost = 2;
    await new AuditLog({ scripts: lossy, logger: silent, maxEntries: 1_000, keepDays: 30 }).record(
      revoke("k1"),
    );
    expect(lossy.calls).toBe(3);
    expect(await targets({ limit: 10 })).toEqual(["k1"]);
  });

  test("for good, the service's own log has the entry, and the action does not fail", async () => {
    const redis = await connectRedis({ url: store.server.url, role: "audit", logger: silent });
    const said: unknown[] = [];
    const logger = { error: (...line: unknown[]) => void said.push(line) } as unknown as Logger;
    const cut = new AuditLog({ scripts: new ScriptRunner(redis), logger, maxEntries: 1_000, keepDays: 30 });
    redis.disconnect();
    const act = revoke("k1", { details: { owner: "shop" } });
    await cut.record(act);
    expect(said).toEqual([[{ audit: act, reason: expect.any(String) }, "audit: entry could not be written"]]);
    await expect(cut.recordBefore(act)).rejects.toMatchObject({ code: "PETREL_UNAVAILABLE" });
  });

  test("records entries even when out of memory", async () => {
    await store.redis.config("SET", "maxmemory", "1");
    try {
      await audit.record(revoke("k1"));
    } finally {
      await store.redis.config("SET", "maxmemory", "0");
    }
    expect(await targets({ limit: 10 })).toEqual(["k1"]);
  });
});

/** Runs each call, and loses the first few answers. */
class LossyRunner extends ScriptRunner {
  lost = 0;
  calls = 0;

  override async run(...call: Parameters<ScriptRunner["run"]>): Promise<string> {
    this.calls++;
    const answer = await super.run(...call);
    if (this.lost-- > 0) throw new Error("Command timed out");
    return answer;
  }
}
