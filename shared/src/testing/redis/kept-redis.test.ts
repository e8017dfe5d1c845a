// Tests the Redis that a worker keeps: what the next borrower finds, and which server it never gets.
import { expect, test } from "vitest";
import { probeRedis } from "../../embedded-redis/resp-probe.js";
import { connectRedis } from "../../redis/connection/connect.js";
import { createLogger } from "../../kernel/logging/logging.js";
import { borrowRedis } from "./kept-redis.js";
import { startRedis, type TestRedis } from "./start-redis.js";

const logger = createLogger({ service: "test", level: "silent" });
const ask = (redis: TestRedis, ...words: string[]) => probeRedis(redis.url, [words]);

test("the next borrower gets the same process, as new, without clients of the former", async () => {
  const first = await borrowRedis();
  const left = await connectRedis({ url: first.url, role: "commands", logger });
  await left.set("k", "left");
  await left.script("LOAD", "return 1");
  await left.call("DEBUG", "SET-ACTIVE-EXPIRE", "0");
  first.signal("SIGSTOP");
  await first.stop();

  const second = await borrowRedis();
  expect(second.pid).toBe(first.pid);
  expect(second.port).not.toBe(first.port);
  expect(await ask(second, "DBSIZE")).toEqual([0]);
  const [memory, clients, stats] = await probeRedis(second.url, [
    ["INFO", "memory"],
    ["CLIENT", "LIST"],
    ["INFO", "commandstats"],
  ]);
  expect(memory).toContain("number_of_cached_scripts:0");
  expect(clients).toMatch(/^id=[^\n]*\n$/);
  expect(stats).not.toContain("cmdstat_set:");
  await ask(second, "SET", "gone", "1", "PX", "1");
  await expect.poll(() => ask(second, "DBSIZE"), { timeout: 10_000 }).toEqual([0]);
  left.disconnect();
  await second.stop();
});

test("two borrowers at once get two", async () => {
  const [one, two] = await Promise.all([borrowRedis(), borrowRedis()]);
  expect(one.pid).not.toBe(two.pid);
  await Promise.all([one.stop(), two.stop()]);
});

test("one that was stopped twice is given back once", async () => {
  const redis = await borrowRedis();
  await redis.stop();
  await redis.stop();
  const next = await borrowRedis();
  expect(await ask(next, "PING")).toEqual(["PONG"]);
  await next.stop();
});

test.each<[string, (redis: TestRedis) => Promise<unknown>]>([
  ["has another setting", (redis) => ask(redis, "CONFIG", "SET", "maxmemory", "8mb")],
  ["has another user", (redis) => ask(redis, "ACL", "SETUSER", "petrel", "on", "nopass", "~*", "+@all")],
  ["follows a master", (redis) => ask(redis, "REPLICAOF", "127.0.0.1", "1")],
  [
    "had a replica",
    async (redis) => {
      const replica = await startRedis({ extraArgs: ["--replicaof", "127.0.0.1", String(redis.port)] });
      await expect
        .poll(() => ask(replica, "INFO", "replication").then(String), { timeout: 30_000 })
        .toContain("master_link_status:up");
      await replica.stop();
    },
  ],
  [
    "was killed",
    async (redis) => {
      redis.signal("SIGKILL");
      await redis.exited;
    },
  ],
])("nobody gets one that %s", async (_what, change) => {
  const redis = await borrowRedis();
  await change(redis);
  await redis.stop();
  const next = await borrowRedis();
  await next.stop();
  expect(next.pid).not.toBe(redis.pid);
  await redis.exited;
});
