// Tests subscriptions that come and go: the last call counts, and a lost link restores only what is still wanted.
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { createLogger } from "../../kernel/logging/logging.js";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { startRedisCluster } from "../../testing/redis/start-redis-cluster.js";
import { waitFor } from "../../testing/wait-for.js";
import { connectRedis } from "../connection/connect.js";
import { readRedisTarget } from "../connection/redis-target.js";
import { ChannelLinks } from "./channel-links.js";

const logger = createLogger({ service: "test", level: "silent" });

let store: OpenStore;
const open: ChannelLinks[] = [];

beforeAll(async () => {
  store = await openStore();
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((links) => links.stop()));
});
afterAll(() => store.close());

/** @param onLost called in the turn in which a channel is lost */
async function openLinks(onLost: (links: ChannelLinks) => void = () => undefined) {
  const redis = await connectRedis({ url: store.server.url, role: "channels", logger });
  const heard: string[] = [];
  const subscribed: string[] = [];
  const lost: string[] = [];
  const links: ChannelLinks = new ChannelLinks({
    redis,
    logger,
    onText: (text, channel) => void heard.push(`${channel} ${text}`),
    onSubscribed: (channels) => void subscribed.push(...channels),
    onLost: (channel) => {
      lost.push(channel);
      onLost(links);
    },
  });
  open.push(links);
  return { links, heard, subscribed, lost, redis };
}

async function listeners(channel: string): Promise<number> {
  const [, count] = (await store.redis.call("PUBSUB", "SHARDNUMSUB", channel)) as [string, number];
  return count;
}

/** Cuts every link that listens. */
async function cutListeners(): Promise<void> {
  await store.redis.call("CLIENT", "KILL", "TYPE", "PUBSUB");
}

test("delivers a channel's messages while it is subscribed to", async () => {
  const { links, heard } = await openLinks();
  links.listen("{t}a");
  links.listen("{t}b");
  await waitFor(() => links.isActive("{t}a") && links.isActive("{t}b"), { what: "both" });
  await store.redis.spublish("{t}a", "1");
  await store.redis.spublish("{t}b", "2");
  await waitFor(() => heard.length === 2, { what: "both texts" });
  links.ignore("{t}a");
  expect(links.isActive("{t}a")).toBe(false);
  await waitFor(async () => (await listeners("{t}a")) === 0, { what: "the end of the subscription" });
  expect(await listeners("{t}b")).toBe(1);
});

test("of changes in quick succession, the last one counts", async () => {
  const { links, subscribed } = await openLinks();
  const names = Array.from({ length: 40 }, (_, i) => `{t}${i}`);
  for (let round = 0; round < 25; round++) {
    for (const [i, name] of names.entries()) {
      if ((round + i) % 3 === 0) links.ignore(name);
      else links.listen(name);
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  const isWanted = (i: number): boolean => (24 + i) % 3 !== 0;
  await waitFor(
    async () => {
      const counts = await Promise.all(names.map(listeners));
      return counts.every((count, i) => count === (isWanted(i) ? 1 : 0));
    },
    { what: "what was last said" },
  );
  // Its own answers may be on their way still.
  await waitFor(() => names.every((name, i) => links.isActive(name) === isWanted(i)), {
    what: "the answers",
  });
  expect(subscribed.length).toBeGreaterThan(0);
});

test("reports a lost link for each channel, and restores those that are still wanted", async () => {
  const { links, subscribed, lost } = await openLinks((all) => all.ignore("{t}c"));
  for (const name of ["{t}a", "{u}b", "{t}c"]) links.listen(name);
  await waitFor(() => subscribed.length === 3, { what: "the subscriptions" });
  await cutListeners();
  await waitFor(() => subscribed.length === 5, { what: "those that are wanted" });
  expect(lost.sort()).toEqual(["{t}a", "{t}c", "{u}b"]);
  expect(subscribed.slice(3).sort()).toEqual(["{t}a", "{u}b"]);
  expect(await listeners("{t}c")).toBe(0);
  expect(links.isActive("{t}c")).toBe(false);
});

test("on a cluster, a channel whose master is gone is tried at its pace, however often the slot map is read", async () => {
  const cluster = await startRedisCluster({ masters: 3, replicas: 0 });
  const { REDIS_CLUSTER, REDIS_URL } = cluster.environment;
  const target = readRedisTarget({ redisUrl: REDIS_URL, redisCluster: REDIS_CLUSTER });
  const redis = await connectRedis({ target, role: "channels", logger });
  let tries = 0;
  let reads = 0;
  redis.on("refresh", () => reads++);
  const links = new ChannelLinks({
    redis,
    logger: { ...logger, warn: () => void tries++ },
    onText: () => undefined,
    onSubscribed: () => undefined,
  });
  try {
    links.listen("{t}a");
    await waitFor(() => links.isActive("{t}a"), { what: "the subscription" });
    const master = await cluster.masterOf("{t}a");
    master.signal("SIGKILL");
    await master.exited;
    [tries, reads] = [0, 0];
    await waitFor(() => tries >= 6, { what: "some tries" });
    // Each try has it read, and each end of a link; a busy machine lets the pool add a few.
    expect(reads).toBeLessThan(8 * tries);
  } finally {
    await links.stop();
    await cluster.stop();
  }
});
