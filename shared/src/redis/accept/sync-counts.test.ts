// Tests what ACCEPT_DURABILITY=aof promises against what the server does: a tracer counts its syncs.
// Guarantees: where a way is chosen, no write is confirmed before a sync that follows it. Where a server is refused
// because its WAITAOF answers too early, it really does: once that server is fixed, this fails, and the refusal can go.
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { createLogger } from "../../kernel/logging/logging.js";
import { countSyncs, tracesSyncs, type SyncCount } from "../../testing/redis/count-syncs.js";
import { startRedis, type TestRedis } from "../../testing/redis/start-redis.js";
import { waitFor } from "../../testing/wait-for.js";
import { isAtLeast, readServerVersion } from "../connection/check-server.js";
import { chooseConfirmation } from "./confirm-writes.js";
import { connectRedis, type SingleRedis } from "../connection/connect.js";

const logger = createLogger({ service: "test", level: "silent" });
let server: TestRedis;
let redis: SingleRedis;
let syncs: SyncCount | undefined;

afterEach(async () => {
  redis?.disconnect();
  await syncs?.stop();
  syncs = undefined;
  await server?.stop();
});

async function open(appendfsync: string): Promise<SyncCount> {
  server = await startRedis({ appendOnly: true, extraArgs: ["--appendfsync", appendfsync] });
  redis = (await connectRedis({ url: server.url, role: "test", logger })) as SingleRedis;
  syncs = await countSyncs(server.pid, join(server.directory, "trace"));
  return syncs;
}

const choose = () => chooseConfirmation(redis, { kind: "aof" }, 5_000, logger);

async function expectSyncBeforeEachAnswer(writes: number, traced: SyncCount): Promise<void> {
  const confirm = await choose();
  const seen: number[] = [];
  for (let i = 0; i < writes; i++) {
    const before = traced.count();
    // As the accepter does: both leave together.
    await Promise.all([redis.set(`k${i}`, "v"), confirm?.(redis)]);
    seen.push(traced.count() - before);
  }
  expect(Math.min(...seen), `syncs between each write and its answer: ${seen.join(" ")}`).toBeGreaterThan(0);
}

describe.runIf(tracesSyncs)("by the server's system calls", () => {
  test("appendfsync always: each write is synced before it is confirmed", async () => {
    await expectSyncBeforeEachAnswer(20, await open("always"));
  });

  test("appendfsync everysec: each write is synced before it is confirmed, or the service is refused", async () => {
    const traced = await open("everysec");
    const isChosen = await choose().then(
      () => true,
      () => false,
    );
    if (isChosen) return expectSyncBeforeEachAnswer(3, traced);
    if (!isAtLeast((await readServerVersion(redis)).version, [7, 2])) return;
    const before = traced.count();
    // One sync a second: this many writes take a moment, and all are confirmed.
    for (let i = 0; i < 100; i++) {
      await redis.set(`k${i}`, "v");
      expect(await redis.call("WAITAOF", 1, 0, 5_000)).toEqual([1, 0]);
    }
    expect(traced.count() - before).toBeLessThan(50);
  });

  test("a rewrite of the file syncs nothing if no-appendfsync-on-rewrite says so: refused, or waited for", async () => {
    await open("always");
    await redis.config("SET", "no-appendfsync-on-rewrite", "yes");
    const hasWait = isAtLeast((await readServerVersion(redis)).version, [7, 2]);
    if (!hasWait) {
      await expect(choose()).rejects.toThrow("no-appendfsync-on-rewrite is yes; set it to no");
      return;
    }
    const confirm = await choose();
    // Slow enough to last until the test is over.
    await redis.config("SET", "rdb-key-save-delay", 100_000, "aof-use-rdb-preamble", "yes");
    await redis.mset(...Array.from({ length: 1_000 }, (_, i) => [`old${i}`, "v"]).flat());
    await redis.bgrewriteaof();
    await waitFor(async () => /^aof_rewrite_in_progress:1\r$/m.test(await redis.info("persistence")), {
      what: "the rewrite to begin",
    });
    const before = syncs?.count() ?? 0;
    const confirmed = await Promise.all([redis.set("k", "v"), confirm?.(redis)]).then(
      () => true,
      () => false,
    );
    // Either a sync, or no confirmation.
    if (confirmed) expect((syncs?.count() ?? 0) - before).toBeGreaterThan(0);
  });
});
