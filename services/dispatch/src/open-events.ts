// open-dispatcher -> here -> events, webhooks: what happens to the events of owned partitions, wired.
// Guarantees: who comes and goes is watched only if such events are written at all.
import type { CommonTicks } from "@petrel/shared/kernel/common-tick";
import type { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { AtRestCipher } from "@petrel/shared/security/encrypt-at-rest";
import type { Service } from "@petrel/shared/service/open-service";
import type { DispatchConfig } from "./config.js";
import { createEventMetrics } from "./events/event-metrics.js";
import { createEventTrimmer } from "./events/trim-partitions.js";
import { OnlineWatch } from "./events/watch-online.js";
import type { AbsenceWatch } from "./offer/absence-watch.js";
import type { PartitionOwner } from "./own/own-partitions.js";
import { openWebhooks, type Webhooks } from "./webhooks/open-webhooks.js";
import type { RetryRules } from "./webhooks/webhook-lane.js";

export interface EventsDeps {
  readonly config: DispatchConfig;
  readonly service: Pick<Service, "metrics" | "clock" | "logger">;
  readonly scripts: ScriptRunner;
  readonly owner: PartitionOwner;
  readonly absence: AbsenceWatch;
  readonly ticks: Pick<CommonTicks, "pause">;
  readonly cipher: AtRestCipher | undefined;
  readonly audit: Pick<AuditLog, "record">;
}

export interface OwnedEvents {
  readonly webhooks: Webhooks;
  /** What runs while this process owns partitions. */
  readonly parts: readonly { readonly start: () => void; readonly stop: () => Promise<void> }[];
}

const HOUR_MS = 60 * 60 * 1_000;
const TRIM_INTERVAL_MS = 60_000;

/** @param retry when webhooks are retried, and when they are given up; for tests */
export function openEvents(
  { config, service, scripts, owner, absence, ticks, cipher, audit }: EventsDeps,
  retry: RetryRules | undefined,
): OwnedEvents {
  const { metrics: registry, clock, logger } = service;
  const metrics = createEventMetrics(registry, () => owner.open.map(({ keys }) => keys.partition));
  const trimmer = createEventTrimmer({
    scripts,
    owner,
    metrics,
    keepMs: config.eventsHours * HOUR_MS,
    intervalMs: TRIM_INTERVAL_MS,
    logger,
  });
  const watchesOnline = scripts.events.writes("user.online") || scripts.events.writes("user.offline");
  const online = watchesOnline
    ? [new OnlineWatch({ scripts, owner, absence, metrics, clock, ticks, logger })]
    : [];
  const webhooks = openWebhooks({
    scripts,
    owner,
    cipher,
    allowPrivate: config.webhookAllowPrivate,
    audit,
    clock,
    ticks,
    logger,
    registry,
    retry,
  });
  return { webhooks, parts: [...online, trimmer, webhooks.deliverer] };
}
