// dispatch's process: hands over what waits, and looks after what nobody acknowledged.
// Guarantees: nothing is taken before the configuration and Redis are good; a stop finishes the steps under way and
// frees the partitions at once; the only reader of process.env here.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { systemClock } from "@petrel/shared/kernel/clock";
import { configOrExit, runService } from "@petrel/shared/kernel/lifecycle";
import { createLogger } from "@petrel/shared/kernel/logging";
import { createRegistry, serveMetrics } from "@petrel/shared/kernel/metrics";
import { checkServer } from "@petrel/shared/redis/check-server";
import { connectRedis } from "@petrel/shared/redis/connect";
import { allPartitionKeys } from "@petrel/shared/redis/keys";
import { ProducerKeysStore } from "@petrel/shared/redis/producer-keys-store";
import { readReadyLengths } from "@petrel/shared/redis/ready-stream";
import { ScriptRunner } from "@petrel/shared/redis/script-runner";
import { ProducerAuthenticator } from "@petrel/shared/security/authenticate-producer";
import { buildApp } from "./app.js";
import { readDispatchConfig } from "./config.js";
import { addDispatchGauges, createDispatchMetrics } from "./dispatch-metrics.js";
import { PartitionDispatcher } from "./dispatch-partitions.js";
import { PartitionOwner } from "./own-partitions.js";
import { MAX_BLOCK_MS, ReadyReader } from "./read-ready.js";
import { UserWaker } from "./wake-users.js";

const config = configOrExit("dispatch", () => readDispatchConfig(process.env));
const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  readonly version: string;
};
const name = (config.nodeName ?? hostname()).replace(/[^A-Za-z0-9_.-]/g, "-");
// Several dispatchers may start on one host in the same millisecond.
const dispatcherId = `${name}.${Date.now().toString(36)}${randomBytes(2).toString("hex")}`;
const logger = createLogger({ service: "dispatch", level: config.logLevel }).child({
  dispatcher: dispatcherId,
});

await runService({ logger, stopDeadlineMs: 15_000 }, async (lifecycle) => {
  const { redisUrl: url, ackTimeoutMs, leaseMs } = config;
  const redis = await connectRedis({ url, role: "dispatch", logger });
  lifecycle.onStop("redis", () => redis.disconnect());
  await checkServer(redis, config.partitions);
  const blocking = await connectRedis({
    url,
    role: "dispatch-reader",
    logger,
    commandTimeoutMs: 0,
    silenceTimeoutMs: MAX_BLOCK_MS + 5_000,
  });
  lifecycle.onStop("redis reader", () => blocking.disconnect());

  const registry = createRegistry("dispatch");
  const metrics = createDispatchMetrics(registry);
  const scripts = new ScriptRunner(redis);
  const owner = new PartitionOwner({
    scripts,
    partitions: allPartitionKeys(config.partitions),
    dispatcherId,
    leaseMs,
    clock: systemClock,
    logger,
    onLeaseLost: metrics.leaseLost,
  });
  const reader = new ReadyReader({ blocking, commands: redis, logger });
  const dispatcher = new PartitionDispatcher({ scripts, owner, reader, metrics, clock: systemClock, logger });
  const waker = new UserWaker({
    scripts,
    owner,
    metrics,
    logger,
    ackTimeoutMs,
    intervalMs: config.wakeIntervalMs,
  });
  addDispatchGauges(registry, {
    countOwned: () => owner.open.length,
    readReadyLengths: async () => {
      const owned = owner.open.map(({ keys }) => keys);
      const lengths = await readReadyLengths(redis, owned);
      return new Map(owned.map(({ partition }, i) => [partition, lengths[i] ?? 0]));
    },
  });

  const app = await buildApp({
    version,
    logger,
    metrics: registry,
    authenticator: new ProducerAuthenticator({
      findKey: new ProducerKeysStore(redis).find,
      clock: systemClock,
    }),
    dispatcherId,
    ownedPartitions: () => owner.open,
    readReadyLengths: (partitions) => readReadyLengths(redis, partitions),
    pingRedis: () => redis.ping(),
    isMember: () => owner.isMember,
  });
  if (config.metricsPort !== undefined) {
    const server = await serveMetrics(registry, config.metricsPort, config.metricsHost);
    lifecycle.onStop("metrics", () => void server.close());
  }
  lifecycle.onStop("http", () => app.close());
  lifecycle.onStop("partitions", () => owner.stop());
  lifecycle.onStop("hand-over and wake", async () => {
    await Promise.all([dispatcher.stop(), waker.stop()]);
  });
  owner.start();
  dispatcher.start();
  waker.start();
  await app.listen({ port: config.port, host: config.host });
  logger.info({ port: config.port, partitions: config.partitions, leaseMs }, "dispatch listens");
});
