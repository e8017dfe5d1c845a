// Tests connections through Sentinel, on real sentinels.
// Guarantees: the master is found, and then its successor; if nothing answers, the caller is told.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { inSlices } from "../../kernel/in-slices.js";
import { createLogger } from "../../kernel/logging/logging.js";
import { freePort } from "../../testing/free-port.js";
import { startRedisSentinels, type TestRedisSentinels } from "../../testing/redis/start-redis-sentinels.js";
import { message } from "../../testing/redis/open-store.js";
import { waitFor } from "../../testing/wait-for.js";
import { MessageAccepter } from "../accept/accept-batch.js";
import { checkServer } from "./check-server.js";
import { chooseConfirmation } from "../accept/confirm-writes.js";
import { connectRedis, type Redis } from "./connect.js";
import { partitionKeys } from "../keys.js";
import { readRedisTarget } from "./redis-target.js";
import { ScriptRunner } from "../scripts/script-runner.js";

/** Messages under way at a time: enough that a stalled replica's socket cannot hold what is written meanwhile. */
const WORKERS = 200;
const logger = createLogger({ service: "test", level: "silent" });
let group: TestRedisSentinels;

beforeAll(async () => void (group = await startRedisSentinels()));
afterAll(() => group?.stop());

const connect = (redisSentinels: string) =>
  connectRedis({
    target: readRedisTarget({ redisUrl: "redis://ignored", redisSentinels }),
    role: "test",
    logger,
    commandTimeoutMs: 500,
  });

test("names sentinels that do not answer", async () => {
  const nobody = `main@127.0.0.1:${await freePort()}`;
  await expect(connect(nobody)).rejects.toMatchObject({
    code: "PETREL_UNAVAILABLE",
    message: `Redis does not answer at sentinels ${nobody}`,
  });
});

test("leaves a paused master for its successor, and does not write to it when it is back", async () => {
  const redis = await connect(group.environment.REDIS_SENTINELS);
  await checkServer(redis, 4);
  const before = await group.master();
  await waitFor(async () => (await redis.set("k", "before")) === "OK", { what: "the first write" });
  await waitFor(async () => (await redis.wait(1, 100)) >= 1, { what: "a replica to have it" });
  before.signal("SIGSTOP");
  try {
    await waitFor(async () => (await group.master()) !== before, {
      what: "the failover",
      deadlineMs: 20_000,
    });
    await waitFor(async () => (await redis.set("k", "after")) === "OK", {
      what: "the new master",
      deadlineMs: 20_000,
    });
  } finally {
    before.signal("SIGCONT");
  }
  await waitFor(async () => (await redis.get("k")) === "after", { what: "what was written" });
  expect(await (await group.connect(await group.master())).get("k")).toBe("after");
  redis.disconnect();
});

test("a planned failover: leaves the old master while it still accepts writes, with links that only listen, too", async () => {
  const planned = await startRedisSentinels({ replicas: 2 });
  const at = planned.environment.REDIS_SENTINELS;
  const [redis, reader] = await Promise.all([connect(at), connect(at)]);
  try {
    const before = await planned.master();
    const old = await planned.connect(before);
    const [sentinel] = planned.sentinels;
    if (sentinel === undefined) throw new Error("no sentinel");
    let isOver = false;
    const acknowledged: number[] = [];
    const writing = (async () => {
      for (let n = 0; !isOver; n++) {
        await redis.sadd("written", n).then(
          () => acknowledged.push(n),
          () => sleep(5),
        );
        await sleep(1);
      }
    })();
    await waitFor(() => acknowledged.length > 50, { what: "writes" });
    const failoverMs = performance.now();
    await (await planned.connect(sentinel)).call("SENTINEL", "FAILOVER", "main");
    await waitFor(async () => (await planned.master()) !== before, {
      what: "the failover",
      deadlineMs: 20_000,
    });
    const successor = await planned.connect(await planned.master());
    const seen = await successor.scard("written");
    await waitFor(async () => (await successor.scard("written")) > seen + 10, { what: "writes there" });
    await waitFor(async () => (await readRunId(reader)) === (await readRunId(successor)), {
      what: "the link that only reads to follow",
    });
    // The sentinels make it a replica some ten seconds later; a busy machine may take longer than that to come here.
    if (performance.now() - failoverMs < 8_000)
      expect(await old.info("replication")).toContain("role:master");
    isOver = true;
    await writing;
    const there = new Set(await successor.smembers("written"));
    const lost = acknowledged.filter((n) => !there.has(String(n))).length;
    process.stdout.write(
      `planned failover: ${acknowledged.length} written one after the other, ${lost} lost\n`,
    );
  } finally {
    redis.disconnect();
    reader.disconnect();
    await planned.stop();
  }
}, 60_000);

async function readRunId(redis: Pick<Redis, "info">): Promise<string | undefined> {
  const text = await redis.info("server").catch(() => "");
  return /run_id:(\w+)/.exec(text)?.[1];
}

test("replicas that lag when the master dies: what one of them confirmed is there, the rest was refused", async () => {
  const lagging = await startRedisSentinels({ replicas: 2 });
  const redis = await connect(lagging.environment.REDIS_SENTINELS);
  try {
    const confirm = await chooseConfirmation(redis, { kind: "replicas", count: 1 }, 300, logger);
    if (confirm === undefined) throw new Error("nothing to wait for");
    const keys = partitionKeys(0);
    const accepter = new MessageAccepter({
      scripts: new ScriptRunner(redis),
      partitions: [keys],
      ackTimeoutMs: 10_000,
      inboxCap: 1_000_000,
      readyCap: 1_000_000,
      handOver: "dispatch",
      maxInFlight: 1,
      confirm,
    });
    const accepted: string[] = [];
    let refused = 0;
    let isOver = false;
    const work = async (worker: number): Promise<void> => {
      for (let n = 0; !isOver; n++) {
        const id = `p0_${worker}_${n}`;
        try {
          await accepter.accept(message({ userId: `u${worker}`, id, data: `"${"x".repeat(1_000)}"` }));
          accepted.push(id);
        } catch {
          refused++;
          await sleep(5);
        }
      }
    };
    const workers = Array.from({ length: WORKERS }, (_, worker) => work(worker));
    await waitFor(() => accepted.length > 1_000, { what: "messages" });
    const [master, ...replicas] = lagging.servers;
    for (const replica of replicas) replica.signal("SIGSTOP");
    const before = refused;
    await waitFor(() => refused > before + 2 * WORKERS, { what: "refusals" });
    master?.signal("SIGKILL");
    await master?.exited;
    const atDeath = accepted.length;
    for (const replica of replicas) replica.signal("SIGCONT");
    await waitFor(() => accepted.length > atDeath + 1_000, { what: "the failover", deadlineMs: 30_000 });
    isOver = true;
    await Promise.all(workers);
    let there = 0;
    for (const ids of inSlices(accepted, 200)) there += await redis.exists(ids.map((id) => keys.record(id)));
    expect(there).toBe(accepted.length);
  } finally {
    redis.disconnect();
    await lagging.stop();
  }
}, 60_000);
