// Redis loses everything under load, or the tail of its append-only file, and the message archive is required.
// Guarantees: what was answered with 202 and had not ended is delivered, once to the application, with its id.
import { readdir, rm, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import type { MessageArchive } from "@petrel/shared/archive/message-archive";
import { hasFerretDb, startFerretDb, type TestFerretDb } from "@petrel/shared/testing/archive/start-ferretdb";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { startRestartableRedis, type RestartableRedis } from "@petrel/shared/testing/redis/restartable-redis";
import { afterEach, expect, test } from "vitest";
import {
  openClustersArchive,
  untilArchiveInStep,
  untilSearchedAgain,
} from "../../support/faults/archive-search.js";
import { handledTwice, openRedisLoad, type RedisLoad, untilReady } from "../../support/faults/redis-load.js";
import { sized } from "../../support/sizes.js";

/** As without a setting. */
const PARTITIONS = 4;
const users = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}-${i + 1}`);

let server: TestFerretDb | undefined;
let archive: MessageArchive | undefined;
let redis: RestartableRedis | undefined;
let cluster: TestCluster | undefined;
let load: RedisLoad | undefined;

afterEach(async () => {
  await load?.close();
  await cluster?.stop();
  await redis?.stop();
  await archive?.close();
  await server?.stop();
});

async function deleteAll(directory: string): Promise<void> {
  for (const name of await readdir(directory)) await rm(join(directory, name), { recursive: true });
}

/** A third of it: also more than one message, and a command that is cut in the middle. */
async function cutTail(directory: string): Promise<void> {
  const files = join(directory, "appendonlydir");
  const name = (await readdir(files)).find((one) => one.endsWith(".incr.aof"));
  if (name === undefined) throw new Error("no append-only file");
  const { size } = await stat(join(files, name));
  await truncate(join(files, name), Math.floor((size * 2) / 3));
}

test.skipIf(!hasFerretDb()).each([
  ["data directory is deleted", deleteAll],
  ["append-only file loses its tail", cutTail],
] as const)(
  "Redis' %s under load: all open messages arrive, once",
  async (what, harm) => {
    server = await startFerretDb();
    redis = await startRestartableRedis();
    cluster = await startCluster({
      together: true,
      redis: redis.current(),
      environment: {
        ACK_TIMEOUT_MS: "2000",
        ACCEPT_DEADLINE_MS: "1500",
        MESSAGE_ARCHIVE_URL: server.url(),
        ARCHIVE_TIMEOUT_MS: "10000",
      },
    });
    archive = await openClustersArchive(server);
    load = openRedisLoad(cluster);
    const online = users("on", 5);
    const away = users("away", 5);
    await load.connect(online);
    load.start([...online, ...away]);
    await load.untilAccepted(sized(120, 80));
    const before = await untilArchiveInStep(archive, PARTITIONS);

    await redis.kill();
    const { directory } = redis.current();
    await harm(directory);
    const accepted = load.accepted().length;
    await redis.startAgain();
    await untilReady(cluster, true);
    await load.stop();
    await untilSearchedAgain(archive, before);

    await load.connect(away);
    expect(await load.lost()).toEqual([]);
    expect(handledTwice(load.recorder)).toEqual([]);
    process.stdout.write(`Redis' ${what}: ${accepted} accepted before, 0 lost\n`);
  },
  240_000,
);
