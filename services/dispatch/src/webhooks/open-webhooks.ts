// open-dispatcher -> here -> webhooks/deliver-webhooks: webhooks, wired, for delivery and for the API.
import type { Clock } from "@petrel/shared/kernel/clock";
import type { CommonTicks } from "@petrel/shared/kernel/common-tick";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { Registry } from "@petrel/shared/kernel/metrics/metrics";
import type { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { WebhookAttempts } from "@petrel/shared/redis/webhooks/webhook-attempts";
import { WebhooksStore } from "@petrel/shared/redis/webhooks/webhooks-store";
import type { AtRestCipher } from "@petrel/shared/security/encrypt-at-rest";
import type { PartitionOwner } from "../own/own-partitions.js";
import { WebhookDeliverer } from "./deliver-webhooks.js";
import type { PostSignedDeps } from "./post-signed.js";
import { createResolver } from "./sender/checked-lookup.js";
import { WebhookSender } from "./sender/webhook-sender.js";
import { WebhookDirectory } from "./webhook-directory.js";
import type { RetryRules } from "./webhook-lane.js";
import { addWebhookGauges, createWebhookMetrics } from "./webhook-metrics.js";
import { WebhookSecrets } from "./webhook-secrets.js";

export interface OpenWebhooksOptions {
  readonly scripts: ScriptRunner;
  readonly owner: Pick<PartitionOwner, "open" | "lose">;
  /** Undefined if KEY_ENCRYPTION_FILE is not set. */
  readonly cipher: AtRestCipher | undefined;
  readonly allowPrivate: boolean;
  readonly audit: Pick<AuditLog, "record">;
  readonly clock: Clock;
  readonly ticks: Pick<CommonTicks, "pause">;
  readonly logger: Logger;
  readonly registry: Registry;
  readonly retry?: RetryRules | undefined;
}

/** What the API needs. */
export interface Webhooks extends PostSignedDeps {
  readonly store: WebhooksStore;
  readonly attempts: WebhookAttempts;
  readonly directory: WebhookDirectory;
  readonly deliverer: WebhookDeliverer;
  readonly allowPrivate: boolean;
  readonly openSender: () => WebhookSender;
}

const TIMEOUT_MS = 15_000;
const HOUR_MS = 60 * 60 * 1_000;
/** About five hundred attempts in three days; events are kept for four. */
const RETRY: RetryRules = { baseMs: 2_000, capMs: HOUR_MS / 4, giveUpAfterMs: 72 * HOUR_MS };
/** Concurrent look-ups in this process. */
const LOOKUPS = 2;

export function openWebhooks(options: OpenWebhooksOptions): Webhooks {
  const {
    scripts,
    owner,
    cipher,
    allowPrivate,
    audit,
    clock,
    ticks,
    logger,
    registry,
    retry = RETRY,
  } = options;
  const store = new WebhooksStore(scripts);
  const attempts = new WebhookAttempts(scripts.redis);
  const secrets = new WebhookSecrets(cipher);
  const directory = new WebhookDirectory(store, secrets, logger);
  const resolveName = createResolver(LOOKUPS);
  const openSender = (): WebhookSender =>
    new WebhookSender({ timeoutMs: TIMEOUT_MS, allowPrivate, resolveName });
  const posting = { secrets, attempts, clock, logger };
  const deliverer = new WebhookDeliverer({
    ...posting,
    scripts,
    owner,
    ticks,
    directory,
    store,
    openSender,
    retry,
    metrics: createWebhookMetrics(registry),
    onPaused: ({ id }, reason) =>
      audit.record({ actor: "system", action: "webhook.pause", target: id, details: { reason } }),
  });
  addWebhookGauges(registry, {
    read: () => deliverer.read(),
    sealed: () => secrets.count(directory.records),
    paused: () =>
      directory.records
        .filter(({ paused }) => paused)
        .map(({ id, pausedReason }) => ({ id, reason: pausedReason ?? "operator" })),
  });
  return { ...posting, store, directory, deliverer, allowPrivate, openSender };
}
