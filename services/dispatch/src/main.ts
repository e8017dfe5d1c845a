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
import { serveMetrics } from "@petrel/shared/kernel/http/serve-metrics";
import { addCertificateGauges } from "@petrel/shared/kernel/metrics/certificate-gauges";
import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
import { openTracing } from "@petrel/shared/kernel/tracing/open-tracing";
import { SpanCounts } from "@petrel/shared/kernel/tracing/span-counts";
import { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { checkServer } from "@petrel/shared/redis/connection/check-server";
import { pingRedis } from "@petrel/shared/redis/connection/cluster-nodes";
import { connectRedis } from "@petrel/shared/redis/connection/connect";
import { InvalidationsStore } from "@petrel/shared/redis/devices/invalidations-store";
import { allPartitionKeys, partitionKeys } from "@petrel/shared/redis/keys";
import { LimitCounts } from "@petrel/shared/redis/limits/limit-counts";
import { ProducerKeysReader } from "@petrel/shared/redis/producers/producer-keys-store";
import { readAttempts } from "@petrel/shared/redis/inbox/read-message";
import { readReadyLengths } from "@petrel/shared/redis/accept/ready-stream";
import { RedisMetrics } from "@petrel/shared/redis/connection/redis-metrics";
import { readRedisTarget } from "@petrel/shared/redis/connection/redis-target";
import { SpentNonces } from "@petrel/shared/redis/producers/spent-nonces";
import { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { EncryptionKeys, followEncryptionKeys } from "@petrel/shared/security/encryption-keys";
import { createSignatureChecks } from "@petrel/shared/security/producers/signature-checks";
import { buildApp } from "./app.js";
import { readDispatchConfig } from "./config.js";
import { MAX_BLOCK_MS } from "./hand-over/read-ready.js";
import { openDispatcher } from "./open-dispatcher.js";

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
  const dispatcher = openDispatcher({
    config,
    dispatcherId,
    redis,
    blocking,
    registry,
    clock: systemClock,
    logger,
    tracing,
  });
  const { scripts, owner, deadLetters } = dispatcher;
  const partitions = allPartitionKeys(config.partitions);

  const limitCounts = new LimitCounts();
  limitCounts.register(registry);
  addCertificateGauges(registry, tls.certificates);
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
    onReplayed: dispatcher.pokeFallback,
    invalidations: new InvalidationsStore(redis, partitions),
    pingRedis: () => pingRedis(redis),
    readyWithoutRedisMs: config.readyWithoutRedisMs,
    clock: systemClock,
    // Who owns no partitions has nothing to be a member for.
    isMember: () => !dispatcher.isOwner || owner.isMember,
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
  dispatcher.start(lifecycle);
  await app.listen({ port: config.port, host: config.host });
  const { port, partitions: partitionCount, leaseMs, dispatchRoles: roles } = config;
  logger.info({ port, partitions: partitionCount, leaseMs, roles }, "dispatch listens");
});
