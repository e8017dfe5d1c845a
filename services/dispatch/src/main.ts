// dispatch's process: hands over what waits, and looks after what nobody acknowledged.
// Guarantees: nothing is taken before the configuration and Redis are good; a stop finishes the steps under way and
// frees the partitions at once; the only reader of process.env here.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { systemClock } from "@petrel/shared/kernel/clock";
import { TrustedProxies } from "@petrel/shared/kernel/http/client-address";
import { configOrExit, runService } from "@petrel/shared/kernel/lifecycle/lifecycle";
import { openListenerTls } from "@petrel/shared/kernel/tls/listener-tls";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { createRareLog } from "@petrel/shared/kernel/logging/rare-log";
import { serveMetrics } from "@petrel/shared/kernel/http/serve-metrics";
import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
import { openTracing } from "@petrel/shared/kernel/tracing/open-tracing";
import { SpanCounts } from "@petrel/shared/kernel/tracing/span-counts";
import { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { checkServer } from "@petrel/shared/redis/connection/check-server";
import { DeadLettersStore } from "@petrel/shared/redis/fallback/dead-letters-store";
import { isMaster, onServerReady, pingRedis } from "@petrel/shared/redis/connection/cluster-nodes";
import { connectRedis } from "@petrel/shared/redis/connection/connect";
import { DEFAULT_AUDIT_CAP } from "@petrel/shared/redis/devices/device-invalidations";
import { readFallbackBacklog } from "@petrel/shared/redis/fallback/fallback-queue";
import { InvalidationsStore } from "@petrel/shared/redis/devices/invalidations-store";
import { allPartitionKeys, partitionKeys } from "@petrel/shared/redis/keys";
import { LimitCounts } from "@petrel/shared/redis/limits/limit-counts";
import { ProducerKeysReader } from "@petrel/shared/redis/producers/producer-keys-store";
import { readAttempts } from "@petrel/shared/redis/inbox/read-message";
import { readPartitionBacklog } from "@petrel/shared/redis/partitions/read-partition-backlog";
import { readReadyLengths } from "@petrel/shared/redis/accept/ready-stream";
import { RedisMetrics } from "@petrel/shared/redis/connection/redis-metrics";
import { readRedisTarget } from "@petrel/shared/redis/connection/redis-target";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { SpentNonces } from "@petrel/shared/redis/producers/spent-nonces";
import { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { EncryptionKeys, followEncryptionKeys } from "@petrel/shared/security/encryption-keys";
import { createSignatureChecks } from "@petrel/shared/security/producers/signature-checks";
import { AbsenceWatch } from "./own/absence-watch.js";
import { buildApp } from "./app.js";
import { readDispatchConfig } from "./config.js";
import { openChannels } from "./channels/open-channels.js";
import { addDispatchGauges, createDispatchMetrics } from "./dispatch-metrics.js";
import { PartitionDispatcher } from "./own/dispatch-partitions.js";
import { addFallbackGauges, createFallbackMetrics } from "./fallback/fallback-metrics.js";
import { FallbackWorkers } from "./fallback/fallback-workers.js";
import { PartitionOwner } from "./own/own-partitions.js";
import { addPartitionGauges } from "./own/partition-gauges.js";
import { Reconciler } from "./wake/reconcile-partitions.js";
import { MAX_BLOCK_MS, ReadyReader } from "./hand-over/read-ready.js";
import { DeviceSweeper } from "./fallback/sweep-devices.js";
import { UserWaker } from "./wake/wake-users.js";

/** A round over a million keys takes a quarter of an hour. */
const DEVICE_SWEEP = { intervalMs: 1_000, restMs: 3_600_000 } as const;
/** While a fallback stream is full, so often it is said. */
const FULL_STREAM_LOG_MS = 60_000;

const config = configOrExit("dispatch", () => readDispatchConfig(process.env));
const target = configOrExit("dispatch", () => readRedisTarget(config));
const encryptionKeys = configOrExit("dispatch", () =>
  config.keyEncryptionFile === undefined ? undefined : new EncryptionKeys(config.keyEncryptionFile),
);
const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  readonly version: string;
};
const name = (config.nodeName ?? hostname()).replace(/[^A-Za-z0-9_.-]/g, "-");
// Several dispatchers may start on one host in the same millisecond.
const dispatcherId = `${name}.${Date.now().toString(36)}${randomBytes(2).toString("hex")}`;
const logger = createLogger({ service: "dispatch", level: config.logLevel }).child({
  dispatcher: dispatcherId,
});

const trustedProxies = configOrExit("dispatch", () => new TrustedProxies(config.trustedProxies));

await runService({ logger, stopDeadlineMs: 15_000 }, async (lifecycle) => {
  const spanCounts = new SpanCounts();
  const tracing = await openTracing(config, {
    service: "dispatch",
    version,
    instance: dispatcherId,
    counts: spanCounts,
    logger,
    lifecycle,
  });
  const tls = await openListenerTls(config, { logger, lifecycle });
  tls.certificates.watch(...target.access.watched(logger));
  const { ackTimeoutMs, leaseMs } = config;
  const redis = await connectRedis({ target, role: "dispatch", logger });
  lifecycle.onStop("redis", () => redis.disconnect());
  await checkServer(redis, config.partitions);
  const blocking = await connectRedis({
    target,
    role: "dispatch-reader",
    logger,
    commandTimeoutMs: 0,
    silenceTimeoutMs: MAX_BLOCK_MS + 5_000,
  });
  lifecycle.onStop("redis reader", () => blocking.disconnect());

  const registry = createRegistry("dispatch", version);
  spanCounts.register(registry);
  const redisMetrics = new RedisMetrics(registry, config.partitions);
  redisMetrics.watch(redis, "commands");
  redisMetrics.watchLink(blocking, "reader");
  const metrics = createDispatchMetrics(registry);
  const scripts = new ScriptRunner(redis);
  scripts.ends.register(registry);
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
  const absence = new AbsenceWatch({
    clock: systemClock,
    settleMs: config.offlineSettleMs,
    confirmMs: config.unheardConfirmMs,
  });
  onServerReady(redis, (server) => {
    if (isMaster(redis, server)) absence.linkIsBack();
  });
  const partitions = allPartitionKeys(config.partitions);
  const routes = config.dispatchRoles.includes("route");
  const sends = config.dispatchRoles.includes("apns");
  const channels = sends
    ? openChannels(config, { scripts, partitions, registry, clock: systemClock, logger, tracing })
    : [];
  const recordKeepMs = config.recordKeepHours * 60 * 60 * 1000;
  const fallback = new FallbackWorkers({
    scripts,
    partitions,
    channels,
    workerId: dispatcherId,
    metrics: createFallbackMetrics(
      registry,
      channels.map((channel) => channel.name),
    ),
    logger,
    clock: systemClock,
    concurrency: config.fallbackConcurrency,
    claimMs: config.fallbackClaimMs,
    stopDeadlineMs: 5_000,
    retry: { baseMs: config.fallbackRetryBaseMs, capMs: config.fallbackRetryCapMs },
    maxAttempts: config.fallbackMaxAttempts,
    deadLettersCap: config.deadLettersCap,
    recordKeepMs,
    tracing,
  });
  const deadLetters = new DeadLettersStore(scripts, partitions);
  addFallbackGauges(registry, {
    readBacklogs: () => Promise.all(partitions.map((keys) => readFallbackBacklog(redis, keys))),
    fallbackCap: config.fallbackCap,
    countDeadLetters: () => deadLetters.count(),
    nowMs: () => systemClock.wallMs(),
  });
  // Where others send, they look often enough by themselves.
  const onOffered = (): void => fallback.poke();
  const full = createRareLog(logger, FULL_STREAM_LOG_MS);
  const onHeldUp = (): void => full.warn("a fallback stream is full: what is offered waits in its inbox");
  const { fallbackCap } = config;
  const offers = { absence, fallbackCap, onOffered, onHeldUp };
  const work = { scripts, owner, metrics, ...offers, recordKeepMs, logger, tracing };
  const dispatcher = new PartitionDispatcher({ ...work, reader, clock: systemClock });
  const waker = new UserWaker({
    ...work,
    ackTimeoutMs,
    intervalMs: config.wakeIntervalMs,
    clock: systemClock,
  });
  const reconciler = new Reconciler({
    ...work,
    overdueMs: 3 * ackTimeoutMs + 2 * leaseMs,
    idleMs: config.inboxIdleHours * 60 * 60 * 1000,
    intervalMs: config.reconcileIntervalMs,
  });
  const sweeper = new DeviceSweeper({
    scripts,
    owner,
    logger,
    keepMs: config.deviceKeepDays * 24 * 60 * 60 * 1000,
    auditCap: DEFAULT_AUDIT_CAP,
    ...DEVICE_SWEEP,
    onSwept: metrics.devicesSwept,
  });
  addDispatchGauges(registry, { countOwned: () => owner.open.length });
  addPartitionGauges(registry, {
    owned: () => owner.open.map(({ keys }) => keys.partition),
    read: (partition) => readPartitionBacklog(redis, partitionKeys(partition)),
    ackTimeoutMs,
  });

  const limitCounts = new LimitCounts();
  limitCounts.register(registry);
  tls.certificates.register(registry);
  if (encryptionKeys !== undefined) {
    followEncryptionKeys(encryptionKeys, { logger, lifecycle, metrics: registry });
  }
  const app = await buildApp({
    version,
    tls: tls.http,
    requestLimits: {
      trustedProxies,
      failedAuths: config.failedAuths,
      counts: limitCounts,
    },
    logger,
    metrics: registry,
    authenticator: new ProducerAuthenticator({
      findKey: new ProducerKeysReader(redis).find,
      signatures: createSignatureChecks(encryptionKeys?.cipher, new SpentNonces(redis).spend, logger),
      clock: systemClock,
    }),
    dispatcherId,
    ownedPartitions: () => owner.open,
    readReadyLengths: (partitions) => readReadyLengths(redis, partitions),
    deadLetters,
    audit: new AuditLog({
      scripts,
      logger,
      maxEntries: config.auditMaxEntries,
      keepDays: config.auditKeepDays,
    }),
    readAttempts: ({ partition, message }) => readAttempts(redis, partitionKeys(partition), message.id),
    onReplayed: () => fallback.poke(),
    invalidations: new InvalidationsStore(redis, partitions),
    pingRedis: () => pingRedis(redis),
    readyWithoutRedisMs: config.readyWithoutRedisMs,
    clock: systemClock,
    // Who owns no partitions has nothing to be a member for.
    isMember: () => !routes || owner.isMember,
  });
  if (config.metricsPort !== undefined) {
    const server = await serveMetrics({
      registry,
      port: config.metricsPort,
      host: config.metricsHost,
      tls: tls.metrics,
      health: (path) => app.inject(path),
    });
    lifecycle.onStop("metrics", () => void server.close());
  }
  lifecycle.onStop("http", () => app.close());
  // After the partitions: they need not wait for what is being sent.
  lifecycle.onStop("fallback", async () => {
    await fallback.stop();
    await Promise.all(channels.map((channel) => channel.close()));
  });
  lifecycle.onStop("partitions", () => owner.stop());
  lifecycle.onStop("hand-over and wake", async () => {
    await Promise.all([dispatcher.stop(), waker.stop(), reconciler.stop(), sweeper.stop()]);
  });
  if (routes) {
    owner.start();
    dispatcher.start();
    waker.start();
    reconciler.start();
    sweeper.start();
  }
  if (sends) fallback.start();
  await app.listen({ port: config.port, host: config.host });
  const { port, partitions: partitionCount, dispatchRoles: roles } = config;
  logger.info({ port, partitions: partitionCount, leaseMs, roles }, "dispatch listens");
});
