// Flow: what happens to messages that wait for their time when a dispatcher or Redis dies in mid-promotion, when Redis
// fails over, and when its clock is set back or forth.
// Guarantees: none is lost, none is stored twice, none comes before its time by Redis' clock.
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import { decodeInboxMessage, type InboxMessage } from "@petrel/shared/protocol/messages/stored-message";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { connectRedis, type Redis } from "@petrel/shared/redis/connection/connect";
import { partitionKeys } from "@petrel/shared/redis/keys";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { type RestartableRedis, startRestartableRedis } from "@petrel/shared/testing/redis/restartable-redis";
import { startRedisSentinels } from "@petrel/shared/testing/redis/start-redis-sentinels";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterEach, expect, test } from "vitest";
import { sized } from "../support/sizes.js";

const MESSAGES = sized(10_000, 600);
const USERS = 50;
const PARTITIONS = 4;
const HOUR_MS = 3_600_000;
/** Far enough ahead for a slow machine to have stored all of them before. */
const SOON_MS = sized(20_000, 6_000);
const logger = createLogger({ service: "test", level: "silent" });

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function open(
  redis: RestartableRedis,
  environment: Readonly<Record<string, string>> = {},
): Promise<{ readonly cluster: TestCluster; readonly link: Redis }> {
  closing.push(() => redis.stop());
  const cluster = await startCluster({
    redis: redis.current(),
    nodes: 0,
    dispatchers: 2,
    together: (name) => !name.startsWith("dispatch"),
    environment: { LEASE_MS: "1500", ...environment },
  });
  closing.push(() => cluster.stop());
  const link = await connectRedis({ url: redis.current().url, role: "test", logger });
  closing.push(() => Promise.resolve(link.disconnect()));
  return { cluster, link };
}

/** @returns when each message is due, by its id */
async function schedule(
  cluster: Pick<TestCluster, "post">,
  deliverAtMs: number,
  spreadMs: number,
): Promise<Map<string, number>> {
  const times = new Map<string, number>();
  for (let from = 0; from < MESSAGES; from += 500) {
    const messages = Array.from({ length: Math.min(500, MESSAGES - from) }, (_, i) => ({
      to: { user: `u${(from + i) % USERS}` },
      data: from + i,
      deliverAt: new Date(deliverAtMs + Math.floor(((from + i) / MESSAGES) * spreadMs)).toISOString(),
    }));
    const answer = await cluster.post("/v1/messages/batch", { messages });
    for (const [i, { id }] of (answer as { results: { id: string }[] }).results.entries())
      times.set(id, Date.parse(messages[i]?.deliverAt ?? ""));
  }
  return times;
}

async function storedMessages(link: Redis): Promise<InboxMessage[]> {
  const inboxes = await Promise.all(
    Array.from({ length: USERS }, (_, i) => {
      const user = `u${i}`;
      return link.xrange(partitionKeys(partitionOfUser(user, PARTITIONS)).inbox(user), "-", "+");
    }),
  );
  return inboxes.flatMap((entries) =>
    entries.map(([id, [, value]]) => decodeInboxMessage(Number.parseInt(id, 10), value ?? "")),
  );
}

async function waiting(link: Redis): Promise<number> {
  const counts = await Promise.all(
    Array.from({ length: PARTITIONS }, (_, p) => link.zcard(partitionKeys(p).scheduled)),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}

/** The checker: everything is there, once, and came no sooner than it was due. */
async function expectAllOnce(link: Redis, times: ReadonlyMap<string, number>): Promise<void> {
  const stored = await storedMessages(link);
  expect(stored.length).toBe(times.size);
  expect(new Set(stored.map(({ id }) => id))).toEqual(new Set(times.keys()));
  const early = stored.filter(({ id, atMs }) => atMs < (times.get(id) ?? Number.POSITIVE_INFINITY));
  expect(early).toEqual([]);
}

/** It asks often: until then there is nothing to see. */
const untilNear = (atMs: number) =>
  waitFor(() => Date.now() > atMs - 300, { what: "their time to come near", deadlineMs: 60_000 });

const untilPromoted = (link: Redis, atLeast: number) =>
  waitFor(async () => (await waiting(link)) <= MESSAGES - atLeast, {
    what: `${atLeast} promotions`,
    deadlineMs: 60_000,
    everyMs: 5,
  });

test(`${MESSAGES} due within a second, their owner killed, then Redis: none lost, none twice, none early`, async () => {
  const redis = await startRestartableRedis();
  const { cluster, link } = await open(redis);
  const dueAtMs = Date.now() + SOON_MS;
  const times = await schedule(cluster, dueAtMs, 1_000);
  expect(times.size).toBe(MESSAGES);

  await untilNear(dueAtMs);
  await untilPromoted(link, MESSAGES / 10);
  const holder = (await link.hget(partitionKeys(0).owner, "holder")) ?? "";
  const victim = cluster.dispatchers.find(({ name }) => holder.startsWith(name));
  victim?.signal("SIGKILL");
  expect(await victim?.exited).toBe("SIGKILL");
  await untilPromoted(link, MESSAGES / 2);
  await redis.kill();
  await redis.startAgain();
  await waitFor(async () => (await waiting(link)) === 0, { what: "all of them", deadlineMs: 90_000 });
  await expectAllOnce(link, times);
});

test("a failover during promotion: no confirmed message is lost, none is stored twice", async () => {
  const sentinels = await startRedisSentinels({ appendOnly: true });
  closing.push(() => sentinels.stop());
  const [first] = sentinels.servers;
  if (first === undefined) throw new Error("no server");
  const cluster = await startCluster({
    redis: first,
    nodes: 0,
    together: true,
    environment: { ...sentinels.environment, LEASE_MS: "1500", ACCEPT_DURABILITY: "replicas:1" },
  });
  closing.push(() => cluster.stop());
  const dueAtMs = Date.now() + SOON_MS;
  const times = await schedule(cluster, dueAtMs, 1_000);
  await untilNear(dueAtMs);
  await untilPromoted(await sentinels.connect(first), MESSAGES / 5);
  first.signal("SIGKILL");
  const next = await waitFor(
    async () => {
      const master = await sentinels.master();
      return master !== first && master;
    },
    { what: "another master", deadlineMs: 60_000 },
  );
  const link = await sentinels.connect(next);
  await waitFor(async () => (await waiting(link)) === 0, { what: "all of them", deadlineMs: 90_000 });
  await expectAllOnce(link, times);
});

test("a clock moved by an hour either way: none lost, none twice, none early because of it", async () => {
  const redis = await startRestartableRedis();
  const { clock } = redis;
  if (clock === undefined) {
    await redis.stop();
    return console.warn("no clock to step here: left out");
  }
  const { cluster, link } = await open(redis);
  // By an hour behind: what is due soon by everybody else's clock waits.
  await clock.step(-HOUR_MS);
  const soon = await schedule(cluster, Date.now() + 1_000, 500);
  expect(await waiting(link)).toBe(MESSAGES);
  // Several looks of the dispatchers later.
  await waitFor(
    async () => {
      const [seconds = 0] = await link.time();
      return seconds * 1_000 + HOUR_MS > Math.max(...soon.values()) + 2_000;
    },
    { what: "their time by other clocks" },
  );
  expect(await waiting(link)).toBe(MESSAGES);
  await clock.step(HOUR_MS);
  await waitFor(async () => (await waiting(link)) === 0, { what: "all of them", deadlineMs: 60_000 });
  await expectAllOnce(link, soon);
  // An hour ahead: what is due within it comes, and nothing else.
  const later = await schedule(cluster, Date.now() + HOUR_MS / 2, 1_000);
  const farther = await schedule(cluster, Date.now() + 2 * HOUR_MS, 1_000);
  await clock.step(HOUR_MS);
  await waitFor(async () => (await waiting(link)) === MESSAGES, {
    what: "the first half",
    deadlineMs: 60_000,
  });
  await expectAllOnce(link, new Map([...soon, ...later]));
  // And back: what is there stays, what waits waits.
  await clock.step(-HOUR_MS);
  const [before = 0] = await link.time();
  await waitFor(async () => ((await link.time())[0] ?? 0) >= before + 2, { what: "several looks" });
  expect(await waiting(link)).toBe(MESSAGES);
  await expectAllOnce(link, new Map([...soon, ...later]));
  expect(farther.size).toBe(MESSAGES);
});
