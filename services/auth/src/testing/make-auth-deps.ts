// Tests only: what auth's application is built from, on a Redis of the test's own.
// Guarantees: the same wiring as main.ts, but for what a test says otherwise; two of the same encryption key are two
// processes of one cluster.
import { randomBytes } from "node:crypto";
import { type Clock, systemClock } from "@petrel/shared/kernel/clock";
import { readConfig } from "@petrel/shared/kernel/config";
import { createLogger, type Logger } from "@petrel/shared/kernel/logging/logging";
import { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { allPartitionKeys } from "@petrel/shared/redis/keys";
import { ProducerKeysStore } from "@petrel/shared/redis/producers/producer-keys-store";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { SigningKeysStore } from "@petrel/shared/redis/auth/signing-keys-store";
import { createAtRestCipher } from "@petrel/shared/security/encrypt-at-rest";
import { createMatchOrigin } from "@petrel/shared/security/requests/match-origin";
import { createRefreshTokens } from "@petrel/shared/security/tokens/refresh-token";
import { readTrustRules } from "@petrel/shared/security/tokens/trusted-issuers";
import type { AuthDeps } from "../app.js";
import { auditTransitions } from "../keys/audit-transitions.js";
import { authConfigSchema, readKeyTimes, readSessionTimes } from "../config.js";
import { SigningKeyring } from "../keys/signing-keyring.js";

export interface MakeAuthDepsOptions {
  readonly scripts: ScriptRunner;
  readonly partitionCount: number;
  readonly clock?: Clock;
  readonly logger?: Logger;
  /** 32 bytes; random ones by default. */
  readonly encryptionKey?: Buffer;
  /** As for the process: `REFRESH_LEEWAY_SECONDS` and so on. */
  readonly environment?: Readonly<Record<string, string>>;
}

const silent = createLogger({ service: "test", level: "silent" });

export async function makeAuthDeps({
  scripts,
  partitionCount,
  clock = systemClock,
  logger = silent,
  encryptionKey = randomBytes(32),
  environment = {},
}: MakeAuthDepsOptions): Promise<AuthDeps> {
  const config = readConfig(authConfigSchema, { KEY_ENCRYPTION_FILE: "not read", ...environment });
  const { redis } = scripts;
  const partitions = allPartitionKeys(partitionCount);
  const cipher = createAtRestCipher(encryptionKey);
  const audit = new AuditLog({ scripts, logger: silent, maxEntries: 1_000, keepDays: 30 });
  const keyTimes = readKeyTimes(config);
  return {
    version: "1.2.3",
    logger,
    clock,
    producerKeys: new ProducerKeysStore(scripts),
    devices: new DevicesStore(scripts, partitions),
    audit,
    scripts,
    partitions,
    cipher,
    keyring: await SigningKeyring.open({
      store: new SigningKeysStore(scripts),
      cipher,
      logger: silent,
      algorithm: config.tokenAlgorithm,
      times: keyTimes,
      onTransition: auditTransitions(audit),
    }),
    keyTimes,
    refreshTokens: createRefreshTokens(() => [encryptionKey]),
    sessionTimes: readSessionTimes(config),
    trust: readTrustRules(config),
    matchOrigin: createMatchOrigin(config.allowedOrigins),
    pingRedis: () => redis.ping(),
    readyWithoutRedisMs: 0,
  };
}
