// Tests connections that are found through Sentinel, on real ones.
// Guarantees: the master is found, and the next one after it; where nobody answers, that is said.
import { afterAll, beforeAll, expect, test } from "vitest";
import { createLogger } from "../kernel/logging.js";
import { freePort } from "../testing/free-port.js";
import { startRedisSentinels, type TestRedisSentinels } from "../testing/start-redis-sentinels.js";
import { waitFor } from "../testing/wait-for.js";
import { checkServer } from "./check-server.js";
import { connectRedis } from "./connect.js";
import { readRedisTarget } from "./redis-target.js";

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

test("sentinels that do not answer are named", async () => {
  const nobody = `main@127.0.0.1:${await freePort()}`;
  await expect(connect(nobody)).rejects.toMatchObject({
    code: "PETREL_UNAVAILABLE",
    message: `Redis does not answer at sentinels ${nobody}`,
  });
});

test("a master that is paused is left for the one that follows it, and is not written to when it is back", async () => {
  const redis = await connect(group.environment.REDIS_SENTINELS);
  await checkServer(redis, 4);
  const before = await group.master();
  await redis.set("k", "before");
  await redis.wait(1, 1_000);
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
  expect(await redis.get("k")).toBe("after");
  expect(await group.connect(await group.master()).get("k")).toBe("after");
  redis.disconnect();
});
