// Tests what every store relies on, on a real Redis Cluster.
// Guarantees: commands and scripts go where their keys are; a lost node costs only time; a node's channels follow their
// slots.
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { createLogger } from "../../kernel/logging/logging.js";
import { startRedisCluster, type TestRedisCluster } from "../../testing/redis/start-redis-cluster.js";
import { message } from "../../testing/redis/open-store.js";
import type { TestRedis } from "../../testing/redis/start-redis.js";
import { waitFor } from "../../testing/wait-for.js";
import { MessageAccepter } from "../accept/accept-batch.js";
import { checkServer } from "./check-server.js";
import { connectionsOf, allMasters, masterOf, pingRedis } from "./cluster-nodes.js";
import { chooseConfirmation } from "../accept/confirm-writes.js";
import { connectRedis, isConnectionError, type Redis } from "./connect.js";
import { renewMembership } from "../partitions/dispatcher-members.js";
import { allPartitionKeys, partitionKeys } from "../keys.js";
import { subscribeNode, type NodeSubscription } from "../nodes/node-subscription.js";
import { ReadyPolls } from "../accept/poll-ready.js";
import type { ReadyEntry } from "../accept/ready-stream.js";
import { readRedisTarget } from "./redis-target.js";
import { readScripts } from "../scripts/script-catalogue.js";
import { ScriptRunner } from "../scripts/script-runner.js";
import { readServerTimeMs } from "./server-time.js";

const logger = createLogger({ service: "test", level: "silent" });
const never = new AbortController().signal;
/** Enough that each master has some. */
const partitions = allPartitionKeys(8);

let cluster: TestRedisCluster;
let redis: Redis;
let scripts: ScriptRunner;
const subscriptions: NodeSubscription[] = [];

beforeAll(async () => {
  // As docs/operate/redis.md advises: slots with a master go on working while another slot has none.
  cluster = await startRedisCluster({ extraArgs: ["--cluster-require-full-coverage", "no"] });
  redis = await connect("test");
  await linksStand(redis);
  scripts = new ScriptRunner(redis);
});
afterEach(async () => {
  for (const subscription of subscriptions.splice(0)) await subscription.stop();
});
afterAll(async () => {
  redis?.disconnect();
  await cluster?.stop();
});

/** A command for a link that is not there yet fails at once. */
function linksStand(connection: Redis): Promise<unknown> {
  const all = (): boolean => connectionsOf(connection).every(({ status }) => status === "ready");
  return waitFor(all, { what: "all links" });
}

function connect(role: string, commandTimeoutMs = 1_000): Promise<Redis> {
  const { REDIS_CLUSTER: redisCluster, REDIS_URL: redisUrl } = cluster.environment;
  return connectRedis({
    target: readRedisTarget({ redisUrl, redisCluster }),
    role,
    logger,
    commandTimeoutMs,
  });
}

function accepter(more: Partial<ConstructorParameters<typeof MessageAccepter>[0]> = {}): MessageAccepter {
  return new MessageAccepter({
    scripts,
    partitions,
    ackTimeoutMs: 10_000,
    inboxCap: 10_000,
    readyCap: 100_000,
    handOver: "dispatch",
    maxInFlight: 1,
    ...more,
  });
}

async function subscribe(nodeId: string) {
  const heard: string[] = [];
  let returns = 0;
  const subscription = await subscribeNode({
    redis: await connect("subscriber"),
    partitions,
    nodeId,
    logger,
    onText: (text) => void heard.push(text),
    onResubscribed: () => void returns++,
  });
  subscriptions.push(subscription);
  return { heard, subscription, returns: () => returns };
}

const publishAll = (nodeId: string, what: string): Promise<unknown[]> =>
  Promise.all(partitions.map(({ channel }, i) => redis.spublish(channel + nodeId, `${what} ${i}`)));

test("a service starts: every master is checked, and the partitions are spread over all of them", async () => {
  await checkServer(redis, partitions.length);
  await pingRedis(redis);
  expect(new Set(partitions.map(({ owner }) => masterOf(redis, owner))).size).toBe(3);
  expect(allMasters(redis)).toHaveLength(3);
  const evicting = cluster.nodes[1];
  if (evicting === undefined) throw new Error("no node");
  await (await cluster.connect(evicting)).config("SET", "maxmemory-policy", "allkeys-lru");
  await expect(checkServer(redis, partitions.length)).rejects.toThrow(
    `Redis cannot be used: the maxmemory-policy of its node 127.0.0.1:${evicting.port} is allkeys-lru`,
  );
  await (await cluster.connect(evicting)).config("SET", "maxmemory-policy", "noeviction");
});

test("a cluster's node is not taken for a single server", async () => {
  const alone = await connectRedis({ url: cluster.nodes[0]?.url ?? "", role: "alone", logger });
  await expect(checkServer(alone, 8)).rejects.toThrow(
    /node of a Redis Cluster; name its nodes in REDIS_CLUSTER/,
  );
  alone.disconnect();
});

test("loads scripts on every node, and sends them again to one that has lost them", async () => {
  const sha1s = [...readScripts().values()].map(({ sha1 }) => sha1);
  for (const node of cluster.nodes) {
    const direct = await cluster.connect(node);
    await waitFor(
      async () => ((await direct.script("EXISTS", ...sha1s)) as number[]).every((one) => one === 1),
      { what: "the scripts" },
    );
    await direct.script("FLUSH");
  }
  for (const keys of partitions) expect(await scripts.run("read-routes.v1", [keys.routes("u")], [])).toBe("");
});

test("stores messages for all partitions in one turn, each in order, and reads them back from `ready`", async () => {
  const store = accepter();
  const ids = Array.from({ length: 400 }, (_, i) => i);
  const results = await Promise.all(
    ids.map((i) => store.accept(message({ partition: i % 8, userId: `u${i % 8}`, id: `p${i % 8}_${i}` }))),
  );
  expect(results.every(({ outcome }) => outcome === "stored")).toBe(true);
  const found = new Map<string, readonly ReadyEntry[]>();
  const polls = new ReadyPolls(redis);
  // A master that is slower than the others is read in a later round.
  await waitFor(
    async () => {
      const round = await polls.read(partitions, { maxEntries: 200, blockMs: 1_000, signal: never });
      for (const [key, entries] of round) found.set(key, entries);
      return found.size === partitions.length;
    },
    { what: "all partitions" },
  );
  for (const { ready } of partitions) {
    expect(found.get(ready)?.map((entry) => entry.message.seq)).toEqual(
      Array.from({ length: 50 }, (_, i) => i + 1),
    );
  }
});

test("a read of `ready` waits for entries, and can be interrupted", async () => {
  await Promise.all(partitions.map(({ ready }) => redis.del(ready)));
  const polls = new ReadyPolls(redis);
  const waiting = polls.read(partitions, { maxEntries: 10, blockMs: 20_000, signal: never });
  await accepter().accept(message({ partition: 5, userId: "late" }));
  expect([...(await waiting).keys()]).toEqual([partitionKeys(5).ready]);
  await redis.del(partitionKeys(5).ready);
  const interruption = new AbortController();
  const read = polls.read(partitions, { maxEntries: 10, blockMs: 60_000, signal: interruption.signal });
  interruption.abort();
  expect((await read).size).toBe(0);
});

test("a master that does not answer delays only its own partitions' reads, and its late answer is used", async () => {
  await Promise.all(partitions.map(({ ready }) => redis.del(ready)));
  const [held = partitionKeys(0)] = partitions;
  const master = await cluster.masterOf(held.ready);
  const masters = await Promise.all(partitions.map(({ ready }) => cluster.masterOf(ready)));
  const elsewhere = partitions.find((_, i) => masters[i] !== master) ?? held;
  for (const { partition } of [held, elsewhere])
    await accepter().accept(message({ partition, userId: "polled" }));
  const direct = await cluster.connect(master);
  const patient = await connect("poll", 0);
  // A link that is not there yet would fail at once, instead of waiting with its master.
  await waitFor(() => connectionsOf(patient).every(({ status }) => status === "ready"), {
    what: "all links",
  });
  const polls = new ReadyPolls(patient);
  const options = { maxEntries: 10, blockMs: 20_000, signal: never };
  // Writes and reads wait: for longer than this takes, and shorter than silent links live.
  await direct.client("PAUSE", 5_000, "ALL");
  const asked = [held, elsewhere];
  for (let round = 0; round < 3; round++)
    expect([...(await polls.read(asked, options)).keys()]).toEqual([elsewhere.ready]);
  expect([...(await polls.read([held], options)).keys()]).toEqual([held.ready]);
  patient.disconnect();
});

test("reads members and time from where they are kept", async () => {
  expect(await renewMembership(scripts, "d1", 5_000)).toEqual(["d1"]);
  const nowMs = await readServerTimeMs(redis, partitionKeys(3).due);
  expect(Math.abs(nowMs - Date.now())).toBeLessThan(60_000);
});

test("waits for the replicas of the partition's master; without them there is no answer", async () => {
  const confirm = await chooseConfirmation(redis, { kind: "replicas", count: 1 }, 300, logger);
  if (confirm === undefined) throw new Error("nothing to wait for");
  const store = accepter({ confirm });
  const sendToAll = (name: string) =>
    Promise.allSettled(
      partitions.map(({ partition }) =>
        store.accept(message({ partition, userId: name, id: `p${partition}_${name}` })),
      ),
    );
  expect((await sendToAll("whole")).every(({ status }) => status === "fulfilled")).toBe(true);
  const master = await cluster.masterOf(partitionKeys(0).owner);
  const replica = await replicaOf(master);
  replica.signal("SIGSTOP");
  const results = await sendToAll("halved");
  // Its duplicate waits as the original did.
  const again = await sendToAll("halved");
  replica.signal("SIGCONT");
  for (const { partition, owner } of partitions) {
    const expected = (await cluster.masterOf(owner)) === master ? "rejected" : "fulfilled";
    expect([results[partition]?.status, again[partition]?.status]).toEqual([expected, expected]);
  }
  expect(results[0]).toMatchObject({ reason: { code: "PETREL_UNAVAILABLE" } });
  await waitFor(async () => (await sendToAll("halved")).every(({ status }) => status === "fulfilled"), {
    what: "the replica",
  });
});

async function replicaOf(master: TestRedis): Promise<TestRedis> {
  const info = await (await cluster.connect(master)).info("replication");
  const port = Number(/slave0:ip=[^,]*,port=(\d+)/.exec(info)?.[1]);
  const found = cluster.nodes.find((node) => node.port === port);
  if (found === undefined) throw new Error("no replica");
  return found;
}

test("messages of every partition arrive, from whichever master has it", async () => {
  const { heard, subscription } = await subscribe("n1");
  expect(subscription.isActive()).toBe(true);
  expect(await publishAll("n1", "hello")).toEqual(partitions.map(() => 1));
  await waitFor(() => heard.length === 8, { what: "all texts" });
});

test("a slot that moves to another master takes its subscription along and starts no generation", async () => {
  const { heard, subscription, returns } = await subscribe("n2");
  const { owner, channel, generation } = partitionKeys(2);
  const from = await cluster.masterOf(owner);
  const to = cluster.nodes.slice(0, 3).find((node) => node !== from);
  if (to === undefined) throw new Error("no other master");
  const before = await acceptIn(2);
  // As if the target had run for minutes when the source last noted the time; in truth it has run for seconds.
  await redis.hset(generation, "at", (await readServerTimeMs(redis, owner)) + 120_000);
  await moveSlot(owner, from, to);
  await waitFor(() => returns() > 0 && subscription.isActive(), { what: "the subscription to follow" });
  await waitFor(async () => (await redis.spublish(`${channel}n2`, "moved")) === 1, { what: "a receiver" });
  await waitFor(() => heard.includes("moved"), { what: "the text" });
  expect(await acceptIn(2)).toEqual({ ...before, seq: before.seq + 1 });

  // Back, and now the real time: a process that began after the noted time may have been restarted in between.
  await redis.hset(generation, "at", await readServerTimeMs(redis, owner));
  await moveSlot(owner, to, from);
  await waitFor(async () => (await acceptIn(2)).epoch !== before.epoch, { what: "a new epoch" });
});

async function acceptIn(partition: number): Promise<{ readonly seq: number; readonly epoch: string }> {
  const result = await accepter().accept(message({ partition, userId: "mover" }));
  if (result.outcome !== "stored") throw new Error(result.outcome);
  return { seq: result.seq, epoch: result.epoch };
}

/** Moves it with all its keys; https://redis.io/docs/latest/commands/cluster-setslot/ */
async function moveSlot(key: string, from: TestRedis, to: TestRedis): Promise<void> {
  const [source, target] = await Promise.all([cluster.connect(from), cluster.connect(to)]);
  const slot = String(await source.call("CLUSTER", "KEYSLOT", key));
  const [fromId, toId] = [
    String(await source.call("CLUSTER", "MYID")),
    String(await target.call("CLUSTER", "MYID")),
  ];
  await target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", fromId);
  await source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", toId);
  const keys = (await source.call("CLUSTER", "GETKEYSINSLOT", slot, "10000")) as string[];
  if (keys.length > 0) {
    await source.call("MIGRATE", "127.0.0.1", String(to.port), "", "0", "5000", "KEYS", ...keys);
  }
  await target.call("CLUSTER", "SETSLOT", slot, "NODE", toId);
  await source.call("CLUSTER", "SETSLOT", slot, "NODE", toId);
}

test("notices a silent link, though its master lives and keeps its slots", async () => {
  const { heard, subscription, returns } = await subscribe("n4");
  const { owner, channel } = partitionKeys(1);
  const master = await cluster.connect(await cluster.masterOf(owner));
  // Its clients get no answer for a while; the other nodes answer.
  await master.client("PAUSE", 5_000, "ALL");
  await waitFor(() => returns() > 0 && subscription.isActive(), { what: "the return", deadlineMs: 20_000 });
  await waitFor(async () => (await redis.spublish(`${channel}n4`, "after")) === 1, { what: "a receiver" });
  await waitFor(() => heard.includes("after"), { what: "the text" });
});

test("notices a paused master; its replica takes over, for commands and subscriptions", async () => {
  const { heard, subscription, returns } = await subscribe("n3");
  const keys = partitionKeys(0);
  const { owner, channel } = keys;
  const kept = keys.user("kept");
  await redis.set(kept, "1");
  const master = await cluster.masterOf(owner);
  const places = await Promise.all(partitions.map((of) => cluster.masterOf(of.owner)));
  const waiting = partitions.flatMap(({ partition }) => (places[partition] === master ? [partition] : []));
  master.signal("SIGSTOP");
  try {
    const pings = await Promise.allSettled(Array.from({ length: 8 }, () => pingRedis(redis)));
    expect(pings.map(({ status }) => status)).toEqual(pings.map(() => "rejected"));
    await waitFor(
      () =>
        redis.get(kept).then(
          () => false,
          (error: unknown) => isConnectionError(error),
        ),
      { what: "an error that says to try again" },
    );
    // A partition of another master is not delayed.
    const elsewhere = partitions.find(({ partition }) => !waiting.includes(partition));
    if (elsewhere === undefined) throw new Error("all partitions are here");
    await accepter().accept(message({ partition: elsewhere.partition, userId: "by" }));
    const polls = new ReadyPolls(redis);
    await waitFor(
      async () =>
        (await polls.read(partitions, { maxEntries: 1, blockMs: 1_000, signal: never })).has(elsewhere.ready),
      { what: "the partition of another master" },
    );
    await waitFor(async () => (await redis.get(kept)) === "1", {
      what: "the replica",
      deadlineMs: 20_000,
    });
    await waitFor(() => subscription.isActive() && returns() > 0, {
      what: "all channels",
      deadlineMs: 20_000,
    });
    await waitFor(async () => (await redis.spublish(`${channel}n3`, "again")) === 1, { what: "a receiver" });
    await waitFor(() => heard.includes("again"), { what: "the text" });
    await waitFor(() => pingRedis(redis).then(() => true), { what: "all masters to answer" });
  } finally {
    master.signal("SIGCONT");
  }
  // The old master comes back as a replica, and misleads nobody.
  await cluster.untilHealthy();
  expect(await publishAll("n3", "all")).toEqual(partitions.map(() => 1));
}, 60_000);
