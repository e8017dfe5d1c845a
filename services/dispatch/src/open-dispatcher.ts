// start-dispatch, testing/start-dispatcher -> here -> own, hand-over, wake, presence, rounds, fallback, webhooks: a
// dispatcher, wired.
// Guarantees: nothing runs before `start`. A stop finishes the steps in progress and frees the partitions at once.
import type { Lifecycle } from "@petrel/shared/kernel/lifecycle/lifecycle";
import { createRareLog } from "@petrel/shared/kernel/logging/rare-log";
import type { MessageArchive } from "@petrel/shared/archive/message-archive";
import { isMaster, onServerReady } from "@petrel/shared/redis/connection/cluster-nodes";
import type { Redis } from "@petrel/shared/redis/connection/connect";
import { RECEIVE_WINDOW_MS } from "@petrel/shared/redis/accept/accept-batch";
import { DEFAULT_AUDIT_CAP } from "@petrel/shared/redis/devices/device-invalidations";
import { TOPIC_KEEP_MS } from "@petrel/shared/redis/topics/topic-publisher";
import type { DeadLettersStore } from "@petrel/shared/redis/fallback/dead-letters-store";
import { allPartitionKeys, partitionKeys } from "@petrel/shared/redis/keys";
import { readPartitionBacklog } from "@petrel/shared/redis/partitions/read-partition-backlog";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { Service } from "@petrel/shared/service/open-service";
import type { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import type { AtRestCipher } from "@petrel/shared/security/encrypt-at-rest";
import { openArchiver } from "./archive/open-archiver.js";
import type { FallbackChannel } from "./channels/fallback-channel.js";
import type { DispatchConfig } from "./config.js";
import { PartitionDispatcher } from "./hand-over/dispatch-partitions.js";
import { createHandOverMetrics } from "./hand-over/hand-over-metrics.js";
import { ReadyReader } from "./hand-over/read-ready.js";
import { AbsenceWatch } from "./offer/absence-watch.js";
import { createOfferMetrics } from "./offer/offer-metrics.js";
import { openEvents } from "./open-events.js";
import { openFallback } from "./open-fallback.js";
import { addOwnedGauge, createOwnMetrics } from "./own/own-metrics.js";
import { PartitionOwner } from "./own/own-partitions.js";
import { PartitionSigns } from "./own/partition-signs.js";
import { addPartitionGauges } from "./own/partition-gauges.js";
import { createRemovalMetrics } from "./presence/removal-metrics.js";
import { GoneNodeRemover } from "./presence/remove-gone-nodes.js";
import { createReconciler } from "./rounds/reconcile-partitions.js";
import { createRoundMetrics } from "./rounds/round-metrics.js";
import { createDeviceSweeper } from "./rounds/sweep-devices.js";
import { DuePromoter } from "./schedule/promote-due.js";
import { createPromotionMetrics } from "./schedule/promotion-metrics.js";
import { createWakeMetrics } from "./wake/wake-metrics.js";
import { UserWaker } from "./wake/wake-users.js";
import type { Webhooks } from "./webhooks/open-webhooks.js";
import type { RetryRules } from "./webhooks/webhook-lane.js";

export interface DispatcherParts {
  /** Set if one is configured; the caller closes it. */
  readonly archive?: MessageArchive | undefined;
  readonly config: DispatchConfig;
  /** `instance` is its name and boot epoch, so a restarted dispatcher is another one. */
  readonly service: Pick<Service, "instance" | "metrics" | "clock" | "ticks" | "logger" | "tracing">;
  readonly links: {
    readonly redis: Redis;
    /** For blocking reads; nothing else may use it. */
    readonly blocking: Redis;
    readonly scripts: ScriptRunner;
  };
  readonly audit: Pick<AuditLog, "record">;
  /** Undefined if KEY_ENCRYPTION_FILE is not set; then webhooks can be neither made nor delivered. */
  readonly cipher: AtRestCipher | undefined;
}

/** For tests: options that the environment cannot set. */
export interface DispatcherOverrides {
  /** A fallback stream was full; logs a line now and then by default. */
  readonly onHeldUp?: () => void;
  /** When webhooks are retried, and when they are given up. */
  readonly webhookRetry?: RetryRules;
}

export interface Dispatcher {
  readonly owner: PartitionOwner;
  readonly deadLetters: DeadLettersStore;
  readonly webhooks: Webhooks;
  /** Whether it hands over and wakes; then it is only useful as a member. */
  readonly isOwner: boolean;
  /** The fallback streams have new entries: this process's workers look at once. */
  readonly pokeFallback: () => void;
  /** The fallback channels that this process sends by. */
  readonly channels: readonly FallbackChannel[];
  /** Starts the work of the configured roles; the lifecycle ends it. */
  readonly start: (lifecycle: Pick<Lifecycle, "onStop">) => void;
}

const HOUR_MS = 60 * 60 * 1_000;
const DAY_MS = 24 * HOUR_MS;
/** A round over a million keys takes a quarter of an hour. */
const DEVICE_SWEEP = { intervalMs: 1_000, restMs: HOUR_MS } as const;
/** How often a full fallback stream is logged. */
const FULL_STREAM_LOG_MS = 60_000;

/** @throws ConfigError if a fallback channel's settings are wrong */
export function openDispatcher(
  { config, service, links: { redis, blocking, scripts }, audit, cipher, archive }: DispatcherParts,
  overrides: DispatcherOverrides = {},
): Dispatcher {
  const { instance: dispatcherId, metrics: registry, clock, ticks, logger, tracing } = service;
  const { ackTimeoutMs, leaseMs, fallbackCap, dispatchRoles } = config;
  const isOwner = dispatchRoles.includes("route");
  const recordKeepMs = config.recordKeepHours * HOUR_MS;
  const partitions = allPartitionKeys(config.partitions);
  scripts.ends.register(registry);

  const owner = new PartitionOwner({
    scripts,
    partitions,
    dispatcherId,
    leaseMs,
    clock,
    ticks,
    logger,
    onLeaseLost: createOwnMetrics(registry).leaseLost,
  });
  const signs = new PartitionSigns(scripts);
  addOwnedGauge(registry, () => owner.open.length);
  addPartitionGauges(registry, {
    owned: () => owner.open.map(({ keys }) => keys.partition),
    read: (partition, lateAfterMs) => readPartitionBacklog(redis, partitionKeys(partition), lateAfterMs),
    ackTimeoutMs,
  });

  const sending = openFallback({ config, service, redis, scripts, partitions, cipher, recordKeepMs, ticks });
  const { fallback } = sending;

  const absence = new AbsenceWatch({
    clock,
    settleMs: config.offlineSettleMs,
    confirmMs: config.unheardConfirmMs,
  });
  onServerReady(redis, (server) => {
    if (isMaster(redis, server)) absence.linkIsBack();
  });
  const full = createRareLog(logger, FULL_STREAM_LOG_MS);
  const offerMetrics = createOfferMetrics(registry);
  const offers = {
    scripts,
    absence,
    fallbackCap,
    metrics: offerMetrics,
    logger,
    reports: {
      metrics: offerMetrics,
      tracing,
      // Workers of other processes poll.
      onOffered: () => fallback.poke(),
      onHeldUp:
        overrides.onHeldUp ??
        (() => full.warn("a fallback stream is full: what is offered waits in its inbox")),
    },
  };
  const dispatcher = new PartitionDispatcher({
    scripts,
    owner,
    reader: new ReadyReader({ blocking, commands: redis, logger }),
    metrics: createHandOverMetrics(registry),
    offers,
    clock,
    logger,
    tracing,
  });
  const waker = new UserWaker({
    scripts,
    owner,
    signs,
    metrics: createWakeMetrics(registry),
    offers,
    recordKeepMs,
    ackTimeoutMs,
    intervalMs: config.wakeIntervalMs,
    clock,
    ticks,
    logger,
  });
  const roundMetrics = createRoundMetrics(registry);
  const reconciler = createReconciler({
    scripts,
    owner,
    metrics: roundMetrics,
    overdueMs: 3 * ackTimeoutMs + 2 * leaseMs,
    idleMs: config.inboxIdleHours * HOUR_MS,
    recordKeepMs,
    intervalMs: config.reconcileIntervalMs,
    logger,
  });
  const goneNodes = new GoneNodeRemover({
    scripts,
    owner,
    signs,
    absence,
    metrics: createRemovalMetrics(registry),
    clock,
    ticks,
    logger,
  });
  const promoter = new DuePromoter({
    scripts,
    owner,
    signs,
    rules: {
      ackTimeoutMs,
      recordKeepMs,
      fallbackCap,
      inboxCap: config.inboxCap,
      readyCap: config.readyCap,
      receiveLimit: (config.messagesPerUser * RECEIVE_WINDOW_MS) / 1_000,
      deadLettersCap: config.deadLettersCap,
      // Only collect knows which topics use the archive as their history.
      ...(archive === undefined ? {} : { topicKeepMs: Math.max(TOPIC_KEEP_MS, config.archiveDays * DAY_MS) }),
    },
    metrics: createPromotionMetrics(registry),
    clock,
    ticks,
    logger,
    tracing,
  });
  const archiver =
    archive === undefined
      ? undefined
      : openArchiver({ config, scripts, partitions, owner, archive, registry, logger });
  const sweeper = createDeviceSweeper({
    scripts,
    owner,
    keepMs: config.deviceKeepDays * 24 * HOUR_MS,
    auditCap: DEFAULT_AUDIT_CAP,
    onSwept: roundMetrics.devicesSwept,
    onQuarantined: roundMetrics.devicesQuarantined,
    logger,
    ...DEVICE_SWEEP,
  });

  const events = openEvents(
    { config, service, scripts, owner, absence, ticks, cipher, audit },
    overrides.webhookRetry,
  );

  return {
    owner,
    deadLetters: sending.deadLetters,
    webhooks: events.webhooks,
    isOwner,
    channels: sending.channels,
    pokeFallback: () => fallback.poke(),
    start: (lifecycle) => {
      // Stopped in reverse: the partitions first, because they need not wait for sends in progress.
      lifecycle.onStop("fallback", sending.stop);
      lifecycle.onStop("partitions", () => owner.stop());
      const ofOwner = [
        dispatcher,
        waker,
        promoter,
        goneNodes,
        ...events.parts,
        reconciler,
        sweeper,
        ...(archiver === undefined ? [] : [archiver]),
      ];
      lifecycle.onStop("hand-over and wake", async () => {
        await Promise.all(ofOwner.map((part) => part.stop()));
      });
      if (isOwner) for (const part of [owner, ...ofOwner]) part.start();
      // A dispatcher that only routes confirms pauses too, so that whoever pauses knows that all have.
      sending.pauses.start();
      lifecycle.onStop("paused channels", () => sending.pauses.stop());
      if (sending.isSender) fallback.start();
    },
  };
}
