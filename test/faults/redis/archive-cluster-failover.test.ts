// A master of a Redis Cluster dies with writes that no replica has, and the message archive is required.
// Guarantees: what was answered with 202 and had not ended is delivered, once to the application, with its id; the owners
// of its partitions drove on what was lost. At the full size only: six servers of Redis and a cluster are much for a check.
import type { MessageArchive } from "@petrel/shared/archive/message-archive";
import { partitionKeys } from "@petrel/shared/redis/keys";
import { hasFerretDb, startFerretDb, type TestFerretDb } from "@petrel/shared/testing/archive/start-ferretdb";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import type { TestRedis } from "@petrel/shared/testing/redis/start-redis";
import { startRedisCluster, type TestRedisCluster } from "@petrel/shared/testing/redis/start-redis-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterEach, expect, test } from "vitest";
import {
  openClustersArchive,
  untilArchiveInStep,
  untilSearchedAgain,
} from "../../support/faults/archive-search.js";
import { handledTwice, openRedisLoad, type RedisLoad, untilReady } from "../../support/faults/redis-load.js";
import { sized } from "../../support/sizes.js";

const PARTITIONS = 4;
const users = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}-${i + 1}`);

let server: TestFerretDb | undefined;
let archive: MessageArchive | undefined;
let redis: TestRedisCluster | undefined;
let cluster: TestCluster | undefined;
let load: RedisLoad | undefined;

afterEach(async () => {
  await load?.close();
  await cluster?.stop();
  await redis?.stop();
  await archive?.close();
  await server?.stop();
});

/** From here on it gets nothing of its master's any more, and may still take over. */
async function cutOff(replica: TestRedis, by: TestRedisCluster): Promise<void> {
  const link = await by.connect(replica);
  // The master has no password: whoever brings one is refused.
  await link.call("CONFIG", "SET", "masterauth", "wrong");
  await link.call("CLIENT", "KILL", "TYPE", "MASTER");
  await waitFor(async () => (await link.info("replication")).includes("master_link_status:down"), {
    what: "the replica to be cut off",
    deadlineMs: 30_000,
  });
}

test.skipIf(!hasFerretDb() || sized(1, 0) === 0)(
  "a failover that loses writes: all open messages arrive, once",
  async () => {
    server = await startFerretDb();
    redis = await startRedisCluster({ replicas: 1, extraArgs: ["--cluster-replica-validity-factor", "0"] });
    const [first] = redis.nodes;
    if (first === undefined) throw new Error("no node");
    cluster = await startCluster({
      together: true,
      redis: first,
      environment: {
        PARTITIONS: String(PARTITIONS),
        ...redis.environment,
        ACK_TIMEOUT_MS: "2000",
        MESSAGE_ARCHIVE_URL: server.url(),
        ARCHIVE_TIMEOUT_MS: "10000",
      },
    });
    archive = await openClustersArchive(server);
    load = openRedisLoad(cluster);
    const online = users("on", 8);
    const away = users("away", 8);
    await load.connect(online);
    load.start([...online, ...away]);
    await load.untilAccepted(120);
    const before = await untilArchiveInStep(archive, PARTITIONS);

    const { owner } = partitionKeys(0);
    const master = await redis.masterOf(owner);
    const running = redis;
    const places = await Promise.all(
      Array.from({ length: PARTITIONS }, (_, partition) => running.masterOf(partitionKeys(partition).owner)),
    );
    await cutOff(await redis.replicaOf(owner), redis);
    const safe = load.accepted().length;
    await load.untilAccepted(safe + 100);
    const accepted = load.accepted().length;
    master.signal("SIGKILL");
    await master.exited;
    await waitFor(() => redis?.masterOf(owner).then((now) => now !== master), {
      what: "the replica to take over",
      deadlineMs: 60_000,
    });
    await redis.untilHealthy();
    await untilReady(cluster, true);
    await load.stop();
    const ofMaster = places.flatMap((place, partition) => (place === master ? partition : []));
    await untilSearchedAgain(archive, before, ofMaster);
    const { partitions } = await archive.status();
    const driven = partitions.reduce(
      (sum, one) => sum + (ofMaster.includes(one.partition) ? one.driven : 0),
      0,
    );

    await load.connect(away);
    expect(await load.lost()).toEqual([]);
    expect(handledTwice(load.recorder)).toEqual([]);
    // Else nothing was lost, and nothing is shown.
    expect(driven).toBeGreaterThan(0);
    process.stdout.write(
      `a failover without the last writes: ${accepted} accepted before, ${driven} driven on, 0 lost\n`,
    );
  },
  240_000,
);
