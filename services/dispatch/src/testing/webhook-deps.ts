// Tests only -> webhooks/open-webhooks: what dispatch's application needs for webhooks, without a dispatcher.
import { systemClock } from "@petrel/shared/kernel/clock";
import { CommonTicks } from "@petrel/shared/kernel/common-tick";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
import { eventTypes } from "@petrel/shared/protocol/events/event-types";
import { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import type { AtRestCipher } from "@petrel/shared/security/encrypt-at-rest";
import type { OpenStore } from "@petrel/shared/testing/redis/open-store";
import type { WebhookRoutesDeps } from "../routes/webhook-answers.js";
import { openWebhooks } from "../webhooks/open-webhooks.js";
import { testCipher } from "./start-dispatcher.js";

export interface WebhookDepsOptions {
  readonly cipher?: AtRestCipher | undefined;
  readonly allowPrivate?: boolean;
  readonly writtenEvents?: WebhookRoutesDeps["writtenEvents"];
}

/** Delivers nothing; everything else works. */
export function webhookDeps(
  { scripts, partitions }: Pick<OpenStore, "scripts" | "partitions">,
  options: WebhookDepsOptions = {},
): Omit<WebhookRoutesDeps, "authenticator"> {
  const logger = createLogger({ service: "test", level: "silent" });
  const audit = new AuditLog({ scripts, logger, maxEntries: 1_000, keepDays: 30 });
  const webhooks = openWebhooks({
    scripts,
    owner: { open: [], lose: () => undefined },
    cipher: "cipher" in options ? options.cipher : testCipher,
    allowPrivate: options.allowPrivate ?? false,
    audit,
    clock: systemClock,
    logger,
    ticks: new CommonTicks(),
    registry: createRegistry("test"),
  });
  return { audit, webhooks, scripts, partitions, writtenEvents: options.writtenEvents ?? eventTypes };
}
