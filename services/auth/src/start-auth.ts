// main.ts, tests -> here -> app: auth's parts, wired.
// Guarantees: nothing listens before Redis has been checked, the file's keys are taken over and there is a signing key.
// Every part closes with the service's lifecycle.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { SigningKeysStore } from "@petrel/shared/redis/auth/signing-keys-store";
import type { Redis } from "@petrel/shared/redis/connection/connect";
import { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { LimitCounts } from "@petrel/shared/redis/limits/limit-counts";
import { SlidingWindowLimiter } from "@petrel/shared/redis/limits/sliding-window-limiter";
import { ProducerKeysStore } from "@petrel/shared/redis/producers/producer-keys-store";
import { followEncryptionKeys } from "@petrel/shared/security/encryption-keys";
import { REQUESTS_WINDOW_MS } from "@petrel/shared/security/requests/limit-requests";
import { createRefreshTokens } from "@petrel/shared/security/tokens/refresh-token";
import { addTokenGauges } from "@petrel/shared/security/tokens/token-metrics";
import type { TokenSource } from "@petrel/shared/security/tokens/token-source";
import type { Service } from "@petrel/shared/service/open-service";
import { openServiceRedis } from "@petrel/shared/service/open-service-redis";
import { buildApp } from "./app.js";
import { type AuthSettings, readKeyTimes, readSessionTimes } from "./config.js";
import { auditTransitions } from "./keys/audit-transitions.js";
import { ResealSecrets } from "./keys/reseal-secrets.js";
import { SigningKeyring } from "./keys/signing-keyring.js";
import { restoreFileKeys } from "./keys/restore-file-keys.js";
import { takeOverKeyFile } from "./keys/take-over-key-file.js";
import { REVOCATIONS_WINDOW_MS } from "./routes/revoke-tokens.js";
import { watchTokenSources } from "./watch-token-sources.js";

const KEYRING_REFRESH_MS = 5_000;

export interface StartedAuth {
  readonly app: HttpApp;
  readonly redis: Redis;
  readonly producerKeys: ProducerKeysStore;
  readonly audit: AuditLog;
  readonly keyring: SigningKeyring;
}

export async function startAuth(settings: AuthSettings, service: Service): Promise<StartedAuth> {
  const { config, target, encryptionKeys, trust, matchOrigin, fileKeys, pushHosts, vapidKey } = settings;
  const { logger, lifecycle, metrics } = service;
  const { cipher } = encryptionKeys;
  const { redis, scripts, partitions } = await openServiceRedis(
    service,
    { target, partitions: config.partitions },
    { link: "commands" },
  );
  const audit = new AuditLog({
    scripts,
    logger,
    maxEntries: config.auditMaxEntries,
    keepDays: config.auditKeepDays,
  });
  const producerKeys = new ProducerKeysStore(scripts);
  await takeOverKeyFile(fileKeys, { producerKeys, cipher, audit, logger });
  const restoring = restoreFileKeys(fileKeys, { producerKeys, cipher, audit, logger }, KEYRING_REFRESH_MS);
  if (fileKeys.length > 0) restoring.start();
  lifecycle.onStop("key file", () => restoring.stop());
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
  reseal.register(metrics);
  followEncryptionKeys(encryptionKeys, service, () => void reseal.run());
  reseal.start();
  lifecycle.onStop("sealing anew", () => reseal.stop());

  const limitCounts = new LimitCounts();
  limitCounts.register(metrics);
  const tokenSources: TokenSource[] = [];
  const app = await buildApp({
    service,
    requestLimits: {
      trustedProxies: service.trustedProxies,
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
    producerKeys,
    devices: new DevicesStore(scripts, partitions),
    pushHosts,
    vapidKey,
    audit,
    scripts,
    cipher,
    partitions,
    keyring,
    keyTimes,
    refreshTokens: createRefreshTokens(() => encryptionKeys.all),
    sessionTimes: readSessionTimes(config),
    trust,
    onTokenSource: (source) => tokenSources.push(source),
    matchOrigin,
    readyWithoutRedisMs: config.readyWithoutRedisMs,
  });
  addTokenGauges(metrics, tokenSources);
  lifecycle.onStop("token sources", watchTokenSources(tokenSources));
  await service.attach(app);
  await app.listen({ port: config.port, host: config.host });
  logger.info({ port: config.port, producerKeysFromFile: fileKeys.length }, "auth listens");
  return { app, redis, producerKeys, audit, keyring };
}
