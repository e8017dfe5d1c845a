// auth's process: says who a user is, who may send, and which devices are whose.
// Guarantees: nothing listens before the configuration, the key file and Redis are good; the only reader of
// process.env here.
import { readFileSync } from "node:fs";
import { systemClock } from "@petrel/shared/kernel/clock";
import { readConfig } from "@petrel/shared/kernel/config";
import { TrustedProxies } from "@petrel/shared/kernel/http/client-address";
import { configOrExit, runService } from "@petrel/shared/kernel/lifecycle/lifecycle";
import { openListenerTls } from "@petrel/shared/kernel/tls/listener-tls";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { serveMetrics } from "@petrel/shared/kernel/http/serve-metrics";
import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
import { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { checkServer } from "@petrel/shared/redis/connection/check-server";
import { pingRedis } from "@petrel/shared/redis/connection/cluster-nodes";
import { connectRedis } from "@petrel/shared/redis/connection/connect";
import { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { allPartitionKeys } from "@petrel/shared/redis/keys";
import { LimitCounts } from "@petrel/shared/redis/limits/limit-counts";
import { ProducerKeysStore } from "@petrel/shared/redis/producers/producer-keys-store";
import { RedisMetrics } from "@petrel/shared/redis/connection/redis-metrics";
import { readRedisTarget } from "@petrel/shared/redis/connection/redis-target";
import { SlidingWindowLimiter } from "@petrel/shared/redis/limits/sliding-window-limiter";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { SigningKeysStore } from "@petrel/shared/redis/auth/signing-keys-store";
import { EncryptionKeys } from "@petrel/shared/security/encryption-keys";
import { createMatchOrigin } from "@petrel/shared/security/requests/match-origin";
import { REQUESTS_WINDOW_MS } from "@petrel/shared/security/requests/limit-requests";
import { createRefreshTokens } from "@petrel/shared/security/tokens/refresh-token";
import { readTrustRules } from "@petrel/shared/security/tokens/trusted-issuers";
import { buildApp } from "./app.js";
import { auditTransitions } from "./keys/audit-transitions.js";
import { REVOCATIONS_WINDOW_MS } from "./routes/revoke-tokens.js";
import { authConfigSchema, readKeyTimes, readSessionTimes } from "./config.js";
import { readProducerKeysFile } from "./keys/read-producer-keys-file.js";
import { ResealSecrets } from "./keys/reseal-secrets.js";
import { SigningKeyring } from "./keys/signing-keyring.js";
import { takeOverKeyFile } from "./keys/take-over-key-file.js";

const KEYRING_REFRESH_MS = 5_000;

const { config, target, encryptionKeys, trust, matchOrigin, fileKeys } = configOrExit("auth", () => {
  const config = readConfig(authConfigSchema, process.env);
  return {
    config,
    target: readRedisTarget(config),
    encryptionKeys: new EncryptionKeys(config.keyEncryptionFile),
    trust: readTrustRules(config),
    matchOrigin: createMatchOrigin(config.allowedOrigins),
    fileKeys: config.producerKeysFile === undefined ? [] : readProducerKeysFile(config.producerKeysFile),
  };
});
const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  readonly version: string;
};
const logger = createLogger({ service: "auth", level: config.logLevel });

const trustedProxies = configOrExit("auth", () => new TrustedProxies(config.trustedProxies));

await runService({ logger, stopDeadlineMs: 10_000 }, async (lifecycle) => {
  const tls = await openListenerTls(config, { logger, lifecycle });
  tls.certificates.watch(...target.access.watched(logger));
  const redis = await connectRedis({ target, role: "auth", logger });
  lifecycle.onStop("redis", () => redis.disconnect());
  await checkServer(redis, config.partitions);

  const scripts = new ScriptRunner(redis);
  const { cipher } = encryptionKeys;
  const audit = new AuditLog({
    scripts,
    logger,
    maxEntries: config.auditMaxEntries,
    keepDays: config.auditKeepDays,
  });
  const partitions = allPartitionKeys(config.partitions);
  const producerKeys = new ProducerKeysStore(scripts);
  await takeOverKeyFile(fileKeys, { producerKeys, cipher, audit, logger });
  const keyTimes = readKeyTimes(config);
  const keyring = await SigningKeyring.open({
    store: new SigningKeysStore(scripts),
    cipher,
    logger,
    algorithm: config.tokenAlgorithm,
    times: keyTimes,
    onTransition: auditTransitions(audit),
  });
  const refreshing = setInterval(() => void keyring.refresh(), KEYRING_REFRESH_MS);
  lifecycle.onStop("keyring", () => clearInterval(refreshing));
  const reseal = new ResealSecrets({ producerKeys, keyring, cipher, logger });
  encryptionKeys.follow({ logger, onChange: () => void reseal.run() });
  lifecycle.onStop("encryption keys", () => encryptionKeys.stop());
  reseal.start();
  lifecycle.onStop("sealing anew", () => reseal.stop());

  const limitCounts = new LimitCounts();
  const app = await buildApp({
    version,
    tls: tls.http,
    requestLimits: {
      trustedProxies,
      failedAuths: config.failedAuths,
      requestsPerAddress: (config.requestsPerAddress * REQUESTS_WINDOW_MS) / 1_000,
      perKey: new SlidingWindowLimiter({
        scripts,
        name: "requests-per-key",
        limit: (config.requestsPerKey * REQUESTS_WINDOW_MS) / 1_000,
        windowMs: REQUESTS_WINDOW_MS,
        prepaid: 0.01,
        counts: limitCounts,
        logger,
      }),
      counts: limitCounts,
    },
    revocationLimit: {
      perWindow: config.revocationsPerKey,
      limiter: new SlidingWindowLimiter({
        scripts,
        name: "revocations-per-key",
        limit: config.revocationsPerKey,
        windowMs: REVOCATIONS_WINDOW_MS,
        counts: limitCounts,
        logger,
      }),
    },
    logger,
    clock: systemClock,
    producerKeys,
    devices: new DevicesStore(scripts, partitions),
    audit,
    scripts,
    cipher,
    partitions,
    keyring,
    keyTimes,
    refreshTokens: createRefreshTokens(() => encryptionKeys.all),
    sessionTimes: readSessionTimes(config),
    trust,
    matchOrigin,
    pingRedis: () => pingRedis(redis),
    readyWithoutRedisMs: config.readyWithoutRedisMs,
  });
  if (config.metricsPort !== undefined) {
    const registry = createRegistry("auth", version);
    limitCounts.register(registry);
    tls.certificates.register(registry);
    encryptionKeys.register(registry);
    reseal.register(registry);
    new RedisMetrics(registry, config.partitions).watch(redis, "commands");
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
  logger.info({ port: config.port, producerKeysFromFile: fileKeys.length }, "auth listens");
});
