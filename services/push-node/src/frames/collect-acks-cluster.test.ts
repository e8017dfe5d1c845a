// Acknowledgements on a real Redis Cluster with one suspended master.
// Guarantees: those of the other masters' users are written meanwhile, one after the other; the held ones when it
// continues.
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { MessageAccepter } from "@petrel/shared/redis/accept/accept-batch";
import { connectRedis, type Redis } from "@petrel/shared/redis/connection/connect";
import { allPartitionKeys, type PartitionKeys } from "@petrel/shared/redis/keys";
import { readRedisTarget } from "@petrel/shared/redis/connection/redis-target";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { message } from "@petrel/shared/testing/redis/open-store";
import { startRedisCluster, type TestRedisCluster } from "@petrel/shared/testing/redis/start-redis-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterEach, expect, test } from "vitest";
import { CollectAcks } from "./collect-acks.js";
import type { Connection } from "../connection/connection.js";

const ROUNDS = 10;
const logger = createLogger({ service: "test", level: "silent" });
let cluster: TestRedisCluster;
const links: Redis[] = [];

afterEach(async () => {
  for (const link of links.splice(0)) link.disconnect();
  await cluster?.stop();
});

/** Patient: no call to a suspended master fails within this test. */
async function connect(): Promise<Redis> {
  const { REDIS_CLUSTER: redisCluster, REDIS_URL: redisUrl } = cluster.environment;
  const link = await connectRedis({
    target: readRedisTarget({ redisUrl, redisCluster }),
    role: "test",
    logger,
    commandTimeoutMs: 300_000,
    silenceTimeoutMs: 300_000,
  });
  links.push(link);
  return link;
}

test("a master that does not answer delays only its own users' acknowledgements", async () => {
  cluster = await startRedisCluster({
    replicas: 0,
    nodeTimeoutMs: 120_000,
    extraArgs: ["--cluster-require-full-coverage", "no"],
  });
  const partitions = allPartitionKeys(6);
  const scripts = new ScriptRunner(await connect());
  const reads = await connect();
  const accepter = new MessageAccepter({
    scripts,
    partitions,
    ackTimeoutMs: 10_000,
    inboxCap: 10_000,
    readyCap: 100_000,
    handOver: "dispatch",
    maxInFlight: 1,
  });
  /** One user a partition, with as many messages as there are rounds. */
  const connections: Connection[] = [];
  for (const keys of partitions) {
    const userId = `u${keys.partition}`;
    let epoch = "";
    for (let i = 1; i <= ROUNDS; i++) {
      const id = `p${keys.partition}_${i}`;
      const result = await accepter.accept(message({ partition: keys.partition, userId, id }));
      if (result.outcome === "stored") ({ epoch } = result);
    }
    const known = { userId, epoch, keys, lastSent: ROUNDS, lastDelivered: ROUNDS, acked: 0 };
    connections.push(known as unknown as Connection);
  }
  const acks = new CollectAcks({
    lingerMs: 10,
    scripts,
    onEpochOver: () => undefined,
    registry: { ofUser: () => [] } as never,
    logger,
    history: { history: 100, slowHistory: 100 },
    observer: { acked: () => undefined },
  });
  const acked = async (keys: PartitionKeys): Promise<number> =>
    Number(await reads.hget(keys.user(`u${keys.partition}`), "acked"));

  const stalled = await cluster.masterOf(partitions[0]?.owner ?? "");
  const held: Connection[] = [];
  const served: Connection[] = [];
  for (const connection of connections) {
    ((await cluster.masterOf(connection.keys.owner)) === stalled ? held : served).push(connection);
  }
  stalled.signal("SIGSTOP");
  try {
    for (let seq = 1; seq <= ROUNDS; seq++) {
      for (const connection of [...held, ...served]) expect(acks.add(connection, seq)).toBe(true);
      for (const { keys } of served) {
        await waitFor(async () => (await acked(keys)) === seq, { what: `number ${seq} to be acknowledged` });
      }
    }
  } finally {
    stalled.signal("SIGCONT");
  }
  await acks.drained();
  for (const { keys } of held) expect(await acked(keys)).toBe(ROUNDS);
}, 120_000);
