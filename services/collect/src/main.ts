// collect's process: takes messages from business systems.
// Guarantees: nothing listens before the configuration and Redis are good; a stop answers what was begun first; the
// only reader of process.env here.
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { systemClock } from "@petrel/shared/kernel/clock";
import { readConfig } from "@petrel/shared/kernel/config";
import { TrustedProxies } from "@petrel/shared/kernel/http/client-address";
import { configOrExit, runService } from "@petrel/shared/kernel/lifecycle";
import { openListenerTls } from "@petrel/shared/kernel/tls/listener-tls";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { createRegistry, serveMetrics } from "@petrel/shared/kernel/metrics/metrics";
import { openTracing } from "@petrel/shared/kernel/tracing/open-tracing";
import { SpanCounts } from "@petrel/shared/kernel/tracing/span-counts";
import { MessageAccepter, RECEIVE_WINDOW_MS } from "@petrel/shared/redis/accept/accept-messages";
import { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { checkServer } from "@petrel/shared/redis/connection/check-server";
import { chooseConfirmation } from "@petrel/shared/redis/accept/confirm-writes";
import { connectRedis } from "@petrel/shared/redis/connection/connect";
import { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { UserEraser } from "@petrel/shared/redis/erasure/erase-user";
import { allPartitionKeys } from "@petrel/shared/redis/keys";
import { LimitCounts } from "@petrel/shared/redis/limits/limit-counts";
import { ProducerKeysReader } from "@petrel/shared/redis/producers/producer-keys-store";
import { RedisMetrics } from "@petrel/shared/redis/connection/redis-metrics";
import { readRedisTarget } from "@petrel/shared/redis/connection/redis-target";
import { SlidingWindowLimiter } from "@petrel/shared/redis/limits/sliding-window-limiter";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { SpentNonces } from "@petrel/shared/redis/producers/spent-nonces";
import { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { createAtRestCipher, readEncryptionKeyFile } from "@petrel/shared/security/encrypt-at-rest";
import { createSignatureChecks } from "@petrel/shared/security/producers/signature-checks";
import { AcceptanceCounts } from "./accept/acceptance-counts.js";
import { buildApp } from "./app.js";
import { collectConfigSchema } from "./config.js";
import { KEY_PREPAID, KEY_WINDOW_MS, MessageLimits } from "./accept/limit-messages.js";

/** Script calls under way at once: few, so that load makes batches larger. */
const STORE_CALLS_IN_FLIGHT = 1;
/** A message may wait for one call and then take its own: two must fit in the deadline. */
const STORE_ATTEMPT_SHARE = 0.4;
/** How long it may take to find out who sends, before anything is stored: a key that is new here, a nonce. */
const CHECK_SHARE = 0.5;

/** Of an attempt: what is left is for the calls before and their answers. */
const CONFIRMATION_SHARE = 0.75;

const config = configOrExit("collect", () => readConfig(collectConfigSchema, process.env));
const target = configOrExit("collect", () => readRedisTarget(config));
const cipher = configOrExit("collect", () =>
  config.keyEncryptionFile === undefined
    ? undefined
    : createAtRestCipher(readEncryptionKeyFile(config.keyEncryptionFile)),
);
const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  readonly version: string;
};
const logger = createLogger({ service: "collect", level: config.logLevel });

const trustedProxies = configOrExit("collect", () => new TrustedProxies(config.trustedProxies));

await runService({ logger, stopDeadlineMs: config.acceptDeadlineMs + 10_000 }, async (lifecycle) => {
  const spanCounts = new SpanCounts();
  const tracing = await openTracing(config, {
    service: "collect",
    version,
    instance: `${hostname()}.${process.pid}`,
    counts: spanCounts,
    logger,
    lifecycle,
  });
  const tls = await openListenerTls(config, { logger, lifecycle });
  tls.certificates.watch(...target.access.watched(logger));
  const checkDeadlineMs = Math.floor(config.acceptDeadlineMs * CHECK_SHARE);
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
  const confirm = await chooseConfirmation(redis, config.acceptDurability, confirmationMs, logger);

  const storeScripts = new ScriptRunner(redis);
  const scripts = new ScriptRunner(readRedis);
  const partitions = allPartitionKeys(config.partitions);
  const counts = new AcceptanceCounts();
  const limitCounts = new LimitCounts();
  const app = await buildApp({
    version,
    tls: tls.http,
    requestLimits: {
      trustedProxies,
      failedAuths: config.failedAuths,
      counts: limitCounts,
    },
    logger,
    clock: systemClock,
    authenticator: new ProducerAuthenticator({
      findKey: new ProducerKeysReader(readRedis).find,
      signatures: createSignatureChecks(
        cipher,
        new SpentNonces(readRedis, { deadlineMs: checkDeadlineMs }).spend,
        logger,
      ),
      lookUpDeadlineMs: checkDeadlineMs,
    }),
    scripts,
    audit: new AuditLog({
      scripts,
      logger,
      maxEntries: config.auditMaxEntries,
      keepDays: config.auditKeepDays,
    }),
    eraser: new UserEraser({ scripts, partitions, devices: new DevicesStore(scripts, partitions) }),
    partitions,
    store: new MessageAccepter({
      scripts: storeScripts,
      partitions,
      ackTimeoutMs: config.ackTimeoutMs,
      inboxCap: config.inboxCap,
      readyCap: config.readyCap,
      fallbackCap: config.fallbackCap,
      recordKeepMs: config.recordKeepHours * 60 * 60 * 1000,
      handOver: config.handOver,
      receiveLimit: (config.messagesPerUser * RECEIVE_WINDOW_MS) / 1_000,
      maxInFlight: STORE_CALLS_IN_FLIGHT,
      ...(confirm === undefined ? {} : { confirm }),
    }),
    counts,
    limits: new MessageLimits(
      new SlidingWindowLimiter({
        scripts,
        name: "messages-per-key",
        limit: 0,
        windowMs: KEY_WINDOW_MS,
        prepaid: KEY_PREPAID,
        counts: limitCounts,
        logger,
      }),
      config.messagesPerKey,
    ),
    acceptDeadlineMs: config.acceptDeadlineMs,
    readyWithoutRedisMs: config.readyWithoutRedisMs,
    storeAttemptMs,
    tracing,
  });
  if (config.metricsPort !== undefined) {
    const registry = createRegistry("collect", version);
    const redisMetrics = new RedisMetrics(registry, config.partitions);
    redisMetrics.watch(redis, "store");
    redisMetrics.watch(readRedis, "reads");
    scripts.ends.register(registry);
    counts.register(registry);
    limitCounts.register(registry);
    tls.certificates.register(registry);
    spanCounts.register(registry);
    const metrics = await serveMetrics({
      registry,
      port: config.metricsPort,
      host: config.metricsHost,
      tls: tls.metrics,
      health: (path) => app.inject(path),
    });
    lifecycle.onStop("metrics", () => void metrics.close());
  }
  lifecycle.onStop("http", () => app.close());
  await app.listen({ port: config.port, host: config.host });
  logger.info({ port: config.port, partitions: config.partitions }, "collect listens");
});
