// Tests which servers are refused before a service starts.
// Guarantees: each refusal is one line that says what is wrong and what would be right.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { checkServer } from "./check-server.js";
import type { Redis } from "./connect.js";
import { clusterKeys } from "../keys.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

test("the first service records the partition count; others must have the same", async () => {
  await checkServer(store.redis, 4);
  expect(await store.redis.get(clusterKeys.partitionCount)).toBe("4");
  await checkServer(store.redis, 4);
  await expect(checkServer(store.redis, 8)).rejects.toMatchObject({
    code: "PETREL_UNAVAILABLE",
    message: expect.stringMatching(/^Redis cannot be used: .*4 partitions.*8.*PARTITIONS=4\.$/),
  });
  expect(await store.redis.get(clusterKeys.partitionCount)).toBe("4");
});

test("accepts one that is out of memory, once the count is recorded", async () => {
  await checkServer(store.redis, 4);
  await store.redis.config("SET", "maxmemory", "1");
  try {
    await checkServer(store.redis, 4);
    await expect(checkServer(store.redis, 8)).rejects.toThrow("set PARTITIONS=4");
  } finally {
    await store.redis.config("SET", "maxmemory", "0");
  }
});

test.each(["allkeys-lru", "volatile-ttl"])(
  "refuses one that evicts by %s, and writes nothing",
  async (policy) => {
    await store.redis.config("SET", "maxmemory-policy", policy);
    try {
      await expect(checkServer(store.redis, 4)).rejects.toThrow(
        `Redis cannot be used: its maxmemory-policy is ${policy}, which drops data; set it to noeviction.`,
      );
      expect(await store.redis.dbsize()).toBe(0);
    } finally {
      await store.redis.config("SET", "maxmemory-policy", "noeviction");
    }
  },
);

/** The server that runs here is new enough, so this replaces its version by an older or newer one. */
function saying(serverInfo: string): Redis {
  return new Proxy(store.redis, {
    get: (redis, property) => {
      if (property === "info") {
        return (section: string) =>
          section === "server" ? Promise.resolve(serverInfo) : redis.info(section);
      }
      const value: unknown = Reflect.get(redis, property);
      return typeof value === "function" ? value.bind(redis) : value;
    },
  });
}

test.each([
  ["6.2.14", "redis_version:6.2.14\r\n"],
  ["5.0.7", "# Server\r\nredis_version:5.0.7\r\n"],
  ["7.1.0", "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:7.1.0\r\n"],
  ["0", "nothing of that kind\r\n"],
])("refuses version %s", async (version, info) => {
  await expect(checkServer(saying(info), 4)).rejects.toThrow(
    `Redis cannot be used: it is version ${version}; Petrel needs Redis 7.0 or Valkey 7.2, or newer.`,
  );
  expect(await store.redis.dbsize()).toBe(0);
});

test.each([
  "redis_version:7.0.0\r\n",
  "redis_version:8.2.1\r\n",
  "redis_version:10.0.0\r\n",
  "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:7.2.0\r\n",
  "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n",
])("accepts %j", async (info) => {
  await checkServer(saying(info), 4);
});
