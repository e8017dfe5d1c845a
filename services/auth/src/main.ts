// auth's process: says who a user is, who may send, and which devices are whose.
// Guarantees: nothing listens before the configuration, the key file and Redis are good; the only reader of
// process.env here.
import { readFileSync } from "node:fs";
import { systemClock } from "@petrel/shared/kernel/clock";
import { readConfig } from "@petrel/shared/kernel/config";
import { configOrExit, runService } from "@petrel/shared/kernel/lifecycle";
import { createLogger } from "@petrel/shared/kernel/logging";
import { createRegistry, serveMetrics } from "@petrel/shared/kernel/metrics";
import { checkServer } from "@petrel/shared/redis/check-server";
import { pingRedis } from "@petrel/shared/redis/cluster-nodes";
import { connectRedis } from "@petrel/shared/redis/connect";
import { DevicesStore } from "@petrel/shared/redis/devices-store";
import { allPartitionKeys } from "@petrel/shared/redis/keys";
import { ProducerKeysStore } from "@petrel/shared/redis/producer-keys-store";
import { readRedisTarget } from "@petrel/shared/redis/redis-target";
import { ScriptRunner } from "@petrel/shared/redis/script-runner";
import { SigningKeysStore } from "@petrel/shared/redis/signing-keys-store";
import { TokenGenerationStore } from "@petrel/shared/redis/token-generation-store";
import { createAtRestCipher, readEncryptionKeyFile } from "@petrel/shared/security/encrypt-at-rest";
import { buildApp } from "./app.js";
import { authConfigSchema } from "./config.js";
import { readProducerKeysFile } from "./read-producer-keys-file.js";
import { SigningKeyring } from "./signing-keyring.js";

const KEYRING_REFRESH_MS = 5_000;

const { config, target, cipher, fileKeys } = configOrExit("auth", () => {
  const config = readConfig(authConfigSchema, process.env);
  return {
    config,
    target: readRedisTarget(config),
    cipher: createAtRestCipher(readEncryptionKeyFile(config.keyEncryptionFile)),
    fileKeys: config.producerKeysFile === undefined ? [] : readProducerKeysFile(config.producerKeysFile),
  };
});
const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  readonly version: string;
};
const logger = createLogger({ service: "auth", level: config.logLevel });

await runService({ logger, stopDeadlineMs: 10_000 }, async (lifecycle) => {
  const redis = await connectRedis({ target, role: "auth", logger });
  lifecycle.onStop("redis", () => redis.disconnect());
  await checkServer(redis, config.partitions);

  const producerKeys = new ProducerKeysStore(redis);
  for (const key of fileKeys) {
    const { id, revokedAt } = await producerKeys.upsertFromFile(key, new Date());
    if (revokedAt !== undefined) logger.warn({ keyId: id, revokedAt }, "a key of the key file stays revoked");
  }
  const keyring = await SigningKeyring.open({ store: new SigningKeysStore(redis), cipher, logger });
  const refreshing = setInterval(() => void keyring.refresh(), KEYRING_REFRESH_MS);
  lifecycle.onStop("keyring", () => clearInterval(refreshing));

  const app = await buildApp({
    version,
    logger,
    clock: systemClock,
    producerKeys,
    generations: new TokenGenerationStore(redis, config.partitions),
    devices: new DevicesStore(new ScriptRunner(redis), allPartitionKeys(config.partitions)),
    keyring,
    issuer: config.tokenIssuer,
    audience: config.tokenAudience,
    pingRedis: () => pingRedis(redis),
  });
  if (config.metricsPort !== undefined) {
    const metrics = await serveMetrics(createRegistry("auth"), config.metricsPort, config.metricsHost);
    lifecycle.onStop("metrics", () => void metrics.close());
  }
  lifecycle.onStop("http", () => app.close());
  await app.listen({ port: config.port, host: config.host });
  logger.info({ port: config.port, producerKeysFromFile: fileKeys.length }, "auth listens");
});
