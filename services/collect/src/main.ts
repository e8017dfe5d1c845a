// collect's process: takes messages from business systems.
// Guarantees: nothing listens before the configuration and Redis are good; a stop answers what was begun first; the
// only reader of process.env here.
import { readFileSync } from "node:fs";
import { systemClock } from "@petrel/shared/kernel/clock";
import { readConfig } from "@petrel/shared/kernel/config";
import { configOrExit, runService } from "@petrel/shared/kernel/lifecycle";
import { createLogger } from "@petrel/shared/kernel/logging";
import { createRegistry, serveMetrics } from "@petrel/shared/kernel/metrics";
import { MessageAccepter } from "@petrel/shared/redis/accept-messages";
import { checkServer } from "@petrel/shared/redis/check-server";
import { chooseConfirmation } from "@petrel/shared/redis/confirm-writes";
import { connectRedis } from "@petrel/shared/redis/connect";
import { allPartitionKeys } from "@petrel/shared/redis/keys";
import { ProducerKeysStore } from "@petrel/shared/redis/producer-keys-store";
import { readRedisTarget } from "@petrel/shared/redis/redis-target";
import { ScriptRunner } from "@petrel/shared/redis/script-runner";
import { ProducerAuthenticator } from "@petrel/shared/security/authenticate-producer";
import { AcceptanceCounts } from "./acceptance-counts.js";
import { buildApp } from "./app.js";
import { collectConfigSchema } from "./config.js";

/** Script calls under way at once: few, so that load makes batches larger. */
const STORE_CALLS_IN_FLIGHT = 1;
/** A message may wait for one call and then take its own: two must fit in the deadline. */
const STORE_ATTEMPT_SHARE = 0.4;

/** Of an attempt: what is left is for the calls before and their answers. */
const CONFIRMATION_SHARE = 0.75;

const config = configOrExit("collect", () => readConfig(collectConfigSchema, process.env));
const target = configOrExit("collect", () => readRedisTarget(config));
const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  readonly version: string;
};
const logger = createLogger({ service: "collect", level: config.logLevel });

await runService({ logger, stopDeadlineMs: config.acceptDeadlineMs + 10_000 }, async (lifecycle) => {
  const storeAttemptMs = Math.floor(config.acceptDeadlineMs * STORE_ATTEMPT_SHARE);
  const redis = await connectRedis({
    target,
    role: "collect",
    logger,
    commandTimeoutMs: storeAttemptMs,
  });
  lifecycle.onStop("redis", () => redis.disconnect());
  // Apart from the store's: a look-up must not wait behind a burst of messages.
  const readRedis = await connectRedis({ target, role: "collect-reads", logger });
  lifecycle.onStop("redis for reads", () => readRedis.disconnect());
  await checkServer(redis, config.partitions);
  const confirmationMs = Math.floor(storeAttemptMs * CONFIRMATION_SHARE);
  const confirm = await chooseConfirmation(redis, config.acceptDurability, confirmationMs);

  const storeScripts = new ScriptRunner(redis);
  const scripts = new ScriptRunner(readRedis);
  const partitions = allPartitionKeys(config.partitions);
  const counts = new AcceptanceCounts();
  const app = await buildApp({
    version,
    logger,
    clock: systemClock,
    authenticator: new ProducerAuthenticator({ findKey: new ProducerKeysStore(readRedis).find }),
    scripts,
    partitions,
    store: new MessageAccepter({
      scripts: storeScripts,
      partitions,
      ackTimeoutMs: config.ackTimeoutMs,
      inboxCap: config.inboxCap,
      readyCap: config.readyCap,
      handOver: config.handOver,
      maxInFlight: STORE_CALLS_IN_FLIGHT,
      ...(confirm === undefined ? {} : { confirm }),
    }),
    counts,
    acceptDeadlineMs: config.acceptDeadlineMs,
    storeAttemptMs,
  });
  if (config.metricsPort !== undefined) {
    const registry = createRegistry("collect");
    counts.register(registry);
    const metrics = await serveMetrics(registry, config.metricsPort, config.metricsHost);
    lifecycle.onStop("metrics", () => void metrics.close());
  }
  lifecycle.onStop("http", () => app.close());
  await app.listen({ port: config.port, host: config.host });
  logger.info({ port: config.port, partitions: config.partitions }, "collect listens");
});
