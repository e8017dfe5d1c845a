// main.ts, tests -> here -> open-dispatcher, app: dispatch's parts, wired.
// Guarantees: no partition is taken before Redis has been checked; a stop ends the work before it closes the port.
import { openArchive } from "@petrel/shared/archive/open-archive";
import { readReadyLengths } from "@petrel/shared/redis/accept/ready-stream";
import { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { pingRedis } from "@petrel/shared/redis/connection/cluster-nodes";
import { addRedisMemoryGauges } from "@petrel/shared/redis/connection/redis-memory";
import { InvalidationsStore } from "@petrel/shared/redis/devices/invalidations-store";
import { readAttempts } from "@petrel/shared/redis/inbox/read-message";
import { partitionKeys } from "@petrel/shared/redis/keys";
import { LimitCounts } from "@petrel/shared/redis/limits/limit-counts";
import { ProducerKeysReader } from "@petrel/shared/redis/producers/producer-keys-store";
import { SpentNonces } from "@petrel/shared/redis/producers/spent-nonces";
import { followEncryptionKeys } from "@petrel/shared/security/encryption-keys";
import { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { createSignatureChecks } from "@petrel/shared/security/producers/signature-checks";
import { EventWriting } from "@petrel/shared/redis/scripts/event-writing";
import type { Service } from "@petrel/shared/service/open-service";
import { openServiceRedis } from "@petrel/shared/service/open-service-redis";
import { ArchiveView } from "./archive/archive-view.js";
import { buildApp } from "./app.js";
import type { DispatchSettings } from "./config.js";
import { MAX_BLOCK_MS } from "./hand-over/read-ready.js";
import { readDiagnosis } from "./diagnose/read-diagnosis.js";
import { openDispatcher, type Dispatcher, type DispatcherOverrides } from "./open-dispatcher.js";

export interface StartedDispatch {
  readonly dispatcher: Dispatcher;
  /** Where it listens, as a URL. */
  readonly address: string;
}

export async function startDispatch(
  { config, target, encryptionKeys }: DispatchSettings,
  service: Service,
  overrides: DispatcherOverrides = {},
): Promise<StartedDispatch> {
  const { logger, metrics, instance: dispatcherId, clock } = service;
  const { redis, scripts, partitions, openLink } = await openServiceRedis(
    service,
    { target, partitions: config.partitions, events: new EventWriting(config.events, config.eventsCap) },
    { link: "commands", gathersWrites: true },
  );
  addRedisMemoryGauges(metrics, redis);
  const blocking = await openLink({
    role: "dispatch-reader",
    link: "reader",
    isUnmeasured: true,
    commandTimeoutMs: 0,
    silenceTimeoutMs: MAX_BLOCK_MS + 5_000,
  });
  const audit = new AuditLog({
    scripts,
    logger,
    maxEntries: config.auditMaxEntries,
    keepDays: config.auditKeepDays,
  });
  const archive = await openArchive(config, logger);
  if (archive !== undefined) service.lifecycle.onStop("archive", () => archive.close());
  const cipher = encryptionKeys?.cipher;
  const dispatcher = openDispatcher(
    { config, service, links: { redis, blocking, scripts }, audit, cipher, archive },
    overrides,
  );
  const { owner, webhooks } = dispatcher;
  const limitCounts = new LimitCounts();
  limitCounts.register(metrics);
  if (encryptionKeys !== undefined) {
    followEncryptionKeys(encryptionKeys, service, () => void webhooks.directory.reseal());
  }
  const app = await buildApp({
    version: service.version,
    tls: service.tls,
    requestLimits: {
      trustedProxies: service.trustedProxies,
      failedAuths: config.failedAuths,
      counts: limitCounts,
    },
    logger,
    metrics,
    requests: service.requests,
    compiledSchemas: service.compiledSchemas,
    authenticator: new ProducerAuthenticator({
      findKey: new ProducerKeysReader(redis).find,
      signatures: createSignatureChecks(encryptionKeys?.cipher, new SpentNonces(redis).spend, logger),
      clock,
    }),
    dispatcherId,
    ownedPartitions: () => owner.open,
    readReadyLengths: (some) => readReadyLengths(redis, some),
    diagnose: () =>
      readDiagnosis({
        redis,
        partitions,
        channels: dispatcher.channels,
        ackTimeoutMs: config.ackTimeoutMs,
        wallMs: () => clock.wallMs(),
      }),
    deadLetters: dispatcher.deadLetters,
    audit,
    readAttempts: ({ partition, message }) => readAttempts(redis, partitionKeys(partition), message.id),
    onReplayed: dispatcher.pokeFallback,
    invalidations: new InvalidationsStore(redis, partitions),
    webhooks,
    scripts,
    partitions,
    writtenEvents: config.events,
    archive: archive === undefined ? undefined : new ArchiveView({ archive, scripts, partitions }),
    pingRedis: () => pingRedis(redis),
    readyWithoutRedisMs: config.readyWithoutRedisMs,
    clock,
    // A dispatcher that only sends needs no membership.
    isMember: () => !dispatcher.isOwner || owner.isMember,
  });
  await service.attach(app);
  dispatcher.start(service.lifecycle);
  const address = await app.listen({ port: config.port, host: config.host });
  const { port, leaseMs, dispatchRoles: roles } = config;
  logger.info({ port, partitions: config.partitions, leaseMs, roles }, "dispatch listens");
  return { dispatcher, address };
}
