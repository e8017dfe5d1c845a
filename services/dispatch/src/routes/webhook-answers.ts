// routes/webhook-routes, routes/webhook-actions -> here: what the routes about webhooks share.
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { WebhookRecord } from "@petrel/shared/redis/webhooks/webhook-record";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { producerOf } from "@petrel/shared/security/producers/authorize-producer";
import type { FastifyRequest } from "fastify";
import type { EventType } from "@petrel/shared/protocol/events/event-types";
import type { Webhooks } from "../webhooks/open-webhooks.js";

export interface WebhookRoutesDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly audit: AuditLog;
  readonly webhooks: Webhooks;
  readonly scripts: ScriptRunner;
  readonly partitions: readonly PartitionKeys[];
  /** The types in `EVENTS`; others are never written. */
  readonly writtenEvents: readonly EventType[];
}

/** Records a change and applies it here at once; other dispatchers notice at their next look. */
export async function noteChange(
  { audit, webhooks: { directory } }: WebhookRoutesDeps,
  request: FastifyRequest,
  act: Pick<Parameters<AuditLog["record"]>[0], "action" | "target" | "details">,
): Promise<void> {
  const by = producerOf(request).keyId;
  request.log.info({ webhook: act.target, action: act.action, by }, "webhook changed");
  await audit.record({ actor: `key:${by}`, ...act });
  await directory.look().catch(() => undefined);
}

/** @throws PetrelError PETREL_NOT_FOUND or PETREL_UNAVAILABLE */
export async function findWebhook({ store }: Webhooks, id: string): Promise<WebhookRecord> {
  const found = await store.find(id);
  if (found === undefined) throw notFound();
  return found;
}

export function invalid(field: string, problem: string): PetrelError {
  return new PetrelError("PETREL_INVALID_REQUEST", `${field} ${problem}.`, { details: { field } });
}

export function notFound(): PetrelError {
  return new PetrelError("PETREL_NOT_FOUND", "There is no such webhook.");
}
