// main.ts, tests -> here -> app: collect's parts, wired.
// Guarantees: nothing listens before Redis has been checked; every part closes with the service's lifecycle.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import {
  MessageAccepter,
  RECEIVE_WINDOW_MS,
  type AcceptOptions,
} from "@petrel/shared/redis/accept/accept-batch";
import { chooseConfirmation } from "@petrel/shared/redis/accept/confirm-writes";
import { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { addRedisMemoryGauges } from "@petrel/shared/redis/connection/redis-memory";
import { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { UserEraser } from "@petrel/shared/redis/erasure/erase-user";
import { LimitCounts } from "@petrel/shared/redis/limits/limit-counts";
import { SlidingWindowLimiter } from "@petrel/shared/redis/limits/sliding-window-limiter";
import { ProducerKeysReader } from "@petrel/shared/redis/producers/producer-keys-store";
import { SpentNonces } from "@petrel/shared/redis/producers/spent-nonces";
import { MessageScheduler } from "@petrel/shared/redis/schedules/schedule-messages";
import { TopicPublisher } from "@petrel/shared/redis/topics/topic-publisher";
import { followEncryptionKeys } from "@petrel/shared/security/encryption-keys";
import { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { createSignatureChecks } from "@petrel/shared/security/producers/signature-checks";
import { EventWriting } from "@petrel/shared/redis/scripts/event-writing";
import type { Service } from "@petrel/shared/service/open-service";
import { openServiceRedis } from "@petrel/shared/service/open-service-redis";
import { AcceptanceCounts } from "./accept/acceptance-counts.js";
import { KEY_PREPAID, KEY_WINDOW_MS, MessageLimits } from "./accept/limit-messages.js";
import { createStoreMessage } from "./accept/store-message.js";
import { buildApp } from "./app.js";
import { openCollectArchive } from "./archive/open-collect-archive.js";
import type { CollectSettings } from "./config.js";
import { EventCounts } from "./events/event-counts.js";
import { CancelMessages } from "./recall/cancel-messages.js";
import { KeptTopics } from "./topics/keep-topics.js";

/** Concurrent script calls: few, so that load makes batches larger. */
const STORE_CALLS_IN_FLIGHT = 1;
/** A message may wait for one call before its own: two must fit into the deadline. */
const STORE_ATTEMPT_SHARE = 0.4;
/** Share of the deadline for authenticating the sender (a key that is new here, a nonce), before anything is stored. */
const CHECK_SHARE = 0.5;
/** Share of an attempt; the rest is for the calls before the confirmation, and for their answers. */
const CONFIRMATION_SHARE = 0.75;

const DAY_MS = 24 * 60 * 60 * 1_000;

/** For tests: options that the environment cannot set. */
export interface CollectOverrides {
  readonly accept?: Partial<AcceptOptions>;
  /** Wraps the store of users' messages. */
  readonly wrapStore?: (store: MessageAccepter) => Pick<MessageAccepter, "accept">;
  /** The same for messages to topics. */
  readonly wrapPublisher?: (publisher: TopicPublisher) => Pick<TopicPublisher, "publish">;
  /** How long Redis may take to count a key's messages. */
  readonly keyLimitDeadlineMs?: number;
}

export interface StartedCollect {
  readonly app: HttpApp;
  /** Where it listens, as a URL. */
  readonly address: string;
  readonly counts: AcceptanceCounts;
}

export async function startCollect(
  { config, target, encryptionKeys, topicRules }: CollectSettings,
  service: Service,
  {
    accept = {},
    wrapStore = (store) => store,
    wrapPublisher = (publisher) => publisher,
    keyLimitDeadlineMs,
  }: CollectOverrides = {},
): Promise<StartedCollect> {
  const { logger, metrics } = service;
  if (encryptionKeys !== undefined) followEncryptionKeys(encryptionKeys, service);
  topicRules.follow(service);
  const checkDeadlineMs = Math.floor(config.acceptDeadlineMs * CHECK_SHARE);
  const storeAttemptMs = Math.floor(config.acceptDeadlineMs * STORE_ATTEMPT_SHARE);
  const {
    redis,
    scripts: storeScripts,
    partitions,
    openLink,
  } = await openServiceRedis(
    service,
    { target, partitions: config.partitions, events: new EventWriting(config.events, config.eventsCap) },
    { link: "store", commandTimeoutMs: storeAttemptMs },
  );
  // A second link, so that a look-up does not wait behind a burst of messages.
  const readRedis = await openLink({ role: "collect-reads", link: "reads" });
  addRedisMemoryGauges(metrics, readRedis);
  const scripts = storeScripts.alsoOn(readRedis);
  const confirmationMs = Math.floor(storeAttemptMs * CONFIRMATION_SHARE);
  const confirm =
    accept.confirm ?? (await chooseConfirmation(redis, config.acceptDurability, confirmationMs, logger));
  const recordKeepMs = config.recordKeepHours * 60 * 60 * 1000;
  const confirmed = { scripts: storeScripts, partitions, ...(confirm === undefined ? {} : { confirm }) };

  const counts = new AcceptanceCounts();
  const limitCounts = new LimitCounts();
  scripts.ends.register(metrics);
  counts.register(metrics);
  const eventCounts = new EventCounts(() => service.clock.wallMs());
  eventCounts.register(metrics);
  limitCounts.register(metrics);

  const receiveLimit = (config.messagesPerUser * RECEIVE_WINDOW_MS) / 1_000;
  const store = new MessageAccepter({
    ...confirmed,
    ackTimeoutMs: config.ackTimeoutMs,
    inboxCap: config.inboxCap,
    readyCap: config.readyCap,
    fallbackCap: config.fallbackCap,
    recordKeepMs,
    handOver: config.handOver,
    receiveLimit,
    maxInFlight: STORE_CALLS_IN_FLIGHT,
    ...accept,
  });
  const publisher = new TopicPublisher({
    ...confirmed,
    recordKeepMs,
    archiveKeepMs: config.archiveDays * DAY_MS,
    maxInFlight: STORE_CALLS_IN_FLIGHT,
  });
  const scheduler = new MessageScheduler({
    ...confirmed,
    maxInFlight: STORE_CALLS_IN_FLIGHT,
    cap: config.schedulesCap,
  });
  const archive = await openCollectArchive(config, service, { scripts, partitions });
  const devices = new DevicesStore(scripts, partitions);
  const eraser = new UserEraser({ scripts, partitions, devices });
  const storeMessage = createStoreMessage(wrapStore(store), wrapPublisher(publisher), scheduler);
  const app = await buildApp({
    service,
    devices,
    receiveLimit,
    requestLimits: {
      trustedProxies: service.trustedProxies,
      failedAuths: config.failedAuths,
      counts: limitCounts,
    },
    authenticator: new ProducerAuthenticator({
      findKey: new ProducerKeysReader(readRedis).find,
      signatures: createSignatureChecks(
        encryptionKeys?.cipher,
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
    eraser: archive === undefined ? eraser : archive.eraser(eraser),
    archive: archive?.archive,
    partitions,
    store: archive === undefined ? storeMessage : archive.first(storeMessage),
    topicRules,
    keptTopics: new KeptTopics(confirmed),
    cancels: new CancelMessages({ ...confirmed, reads: scripts }),
    counts,
    eventCounts,
    limits: new MessageLimits(
      new SlidingWindowLimiter({
        scripts,
        name: "messages-per-key",
        limit: 0,
        windowMs: KEY_WINDOW_MS,
        prepaid: KEY_PREPAID,
        counts: limitCounts,
        logger,
        ...(keyLimitDeadlineMs === undefined ? {} : { deadlineMs: keyLimitDeadlineMs }),
      }),
      config.messagesPerKey,
    ),
    acceptDeadlineMs: config.acceptDeadlineMs,
    readyWithoutRedisMs: config.readyWithoutRedisMs,
    storeAttemptMs,
  });
  await service.attach(app);
  const address = await app.listen({ port: config.port, host: config.host });
  logger.info({ port: config.port, partitions: config.partitions }, "collect listens");
  return { app, address, counts };
}
