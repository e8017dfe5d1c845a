// Tests how a link reacts to each message of a failover: a Redis of the test publishes what a sentinel would.
// Guarantees: the link goes where a failover's first message says, returns from an abandoned one, and follows no other
// master's.
import { once } from "node:events";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { createLogger } from "../../kernel/logging/logging.js";
import { startRedis, type TestRedis } from "../../testing/redis/start-redis.js";
import { waitFor } from "../../testing/wait-for.js";
import { connectRedis, type Redis, type SingleRedis } from "./connect.js";
import { RedisAccess } from "./redis-access.js";
import { SentinelSwitches } from "./sentinel-switches.js";

const A = { host: "10.0.0.1", port: 7000 };
const B = { host: "10.0.0.2", port: 7001 };
const C = { host: "10.0.0.3", port: 7002 };
const OF_B = "slave 10.0.0.2:7001 10.0.0.2 7001 @ main 10.0.0.1 7000";
const logger = createLogger({ service: "test", level: "silent" });
let server: TestRedis;
let sentinel: Redis;
let redis: Redis;
let switches: SentinelSwitches;
let left: number;

beforeAll(async () => {
  server = await startRedis();
  sentinel = await connectRedis({ url: server.url, role: "sentinel", logger });
});
beforeEach(async () => {
  left = 0;
  redis = await connectRedis({ url: server.url, role: "commands", logger });
  switches = new SentinelSwitches({
    target: {
      kind: "sentinel",
      address: "",
      masterName: "main",
      sentinels: [{ host: "127.0.0.1", port: server.port }],
      access: new RedisAccess({ isEncrypted: false }),
      database: 0,
    },
    role: "test",
    logger,
  });
  switches.watch(redis as SingleRedis);
  redis.on("close", () => left++);
  // As ioredis asks about a sentinel's answer: this sentinel knows nothing of the failover yet.
  redis.on("reconnecting", () => switches.resolve("10.0.0.1:7000"));
  // It listens from a link's first connection on.
  const ready = once(redis, "ready");
  (redis as SingleRedis).disconnect(true);
  await ready;
  await waitFor(async () => (await countListeners()) === 1, {
    what: "the link to the sentinel",
  });
  left = 0;
  expect(switches.resolve("10.0.0.1:7000")).toEqual(A);
});
afterEach(async () => {
  // If it ended while it waits for its next try, it would not say so.
  await waitFor(() => redis.status === "ready", { what: "the link" });
  const ended = once(redis, "end");
  redis.disconnect();
  await ended;
  await waitFor(async () => (await countListeners()) === 0, {
    what: "the end of the link to the sentinel",
  });
});
afterAll(async () => {
  sentinel.disconnect();
  await server.stop();
});

async function countListeners(): Promise<number> {
  const [, count] = (await sentinel.call("PUBSUB", "NUMSUB", "+switch-master")) as [string, number];
  return count;
}

const say = (channel: string, text: string) => sentinel.publish(channel, text);

test.each([
  ["+selected-slave", OF_B],
  ["+promoted-slave", OF_B],
  ["+switch-master", "main 10.0.0.1 7000 10.0.0.2 7001"],
])("%s: leaves the old master at once, whatever a sentinel still answers", async (channel, text) => {
  await say(channel, text);
  await waitFor(() => left === 1, { what: "the link to be left" });
  expect(switches.resolve("10.0.0.1:7000")).toEqual(B);
  expect(switches.resolve("10.0.0.2:7001")).toEqual(B);
});

test("stays if it is already there", async () => {
  switches.resolve("10.0.0.2:7001");
  await say("+switch-master", "main 10.0.0.1 7000 10.0.0.2 7001");
  await say("+switch-master", "main 10.0.0.2 7001 10.0.0.3 7002");
  await waitFor(() => left > 0 && redis.status === "ready", { what: "the second to be heard" });
  expect(left).toBe(1);
  expect(switches.resolve("10.0.0.1:7000")).toEqual(C);
});

test("a failover that is given up leads back; one that went through does not", async () => {
  await say("+selected-slave", OF_B);
  await waitFor(() => left === 1 && redis.status === "ready", { what: "the link to be left" });
  await say("-failover-abort-slave-timeout", "master main 10.0.0.1 7000");
  await waitFor(() => left === 2 && redis.status === "ready", { what: "the way back" });
  expect(switches.resolve("10.0.0.1:7000")).toEqual(A);

  await say("+promoted-slave", OF_B);
  await waitFor(() => left === 3 && redis.status === "ready", { what: "the link to be left again" });
  await say("-failover-abort-slave-timeout", "master main 10.0.0.1 7000");
  await say("+switch-master", "main 10.0.0.2 7001 10.0.0.3 7002");
  await waitFor(() => left === 4 && redis.status === "ready", { what: "the next failover" });
  expect(switches.resolve("10.0.0.1:7000")).toEqual(C);
});

test("one failover after the other, and back: the last one counts", async () => {
  await say("+switch-master", "main 10.0.0.1 7000 10.0.0.2 7001");
  await say("+switch-master", "main 10.0.0.2 7001 10.0.0.3 7002");
  await waitFor(() => switches.resolve("10.0.0.1:7000").port === C.port, { what: "both to be heard" });
  await say("+switch-master", "main 10.0.0.3 7002 10.0.0.1 7000");
  await waitFor(() => switches.resolve("10.0.0.3:7002").port === A.port, { what: "the third" });
  expect(switches.resolve("10.0.0.1:7000")).toEqual(A);
});

test("ignores another master's failover", async () => {
  await say("+selected-slave", OF_B.replace("main", "other"));
  await say("+switch-master", "other 10.0.0.1 7000 10.0.0.2 7001");
  await say("+switch-master", "main 10.0.0.1 7000 10.0.0.3 7002");
  await waitFor(() => left > 0 && redis.status === "ready", { what: "all to be heard" });
  expect(left).toBe(1);
  expect(switches.resolve("10.0.0.1:7000")).toEqual(C);
});
