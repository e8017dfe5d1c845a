// dispatch/webhooks/webhook-lane -> here -> webhooks/step-webhook.lua: how far a webhook has got in a partition.
// Guarantees: only the partition's owner advances it. It holds the open batch before the first attempt, so that whoever
// continues sends the same under the same id.
import type { EventPosition } from "../../protocol/events/event-position.js";
import { awaitAnswer } from "../connection/await-answer.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface WebhookProgress {
  /** Just after what was delivered; or the time where it begins, ms by Redis's clock. */
  readonly after: EventPosition | number;
  /** The batch that is being delivered; begins after `after`. */
  readonly open?: OpenBatch | undefined;
  /** Events before the next one are gone, and the receiver has not been told yet. */
  readonly gap?: boolean | undefined;
  /** Failed attempts of the open batch. */
  readonly failures: number;
  /** Wall clock, ms: when the first of them failed. */
  readonly failingSinceMs?: number | undefined;
  /** Wall clock, ms: no attempt before this. */
  readonly nextAtMs?: number | undefined;
  /** The webhook's era when this was written, see WebhookRecord. */
  readonly era: number;
  /** The number of the last completed replay. */
  readonly replayed: number;
}

export interface OpenBatch {
  /** Its `webhook-id`. */
  readonly id: string;
  /** Just after its last event. */
  readonly end: EventPosition;
  /** Wall clock, ms: its `timestamp`. */
  readonly atMs: number;
  /** Some events before it are gone. */
  readonly gap: boolean;
  /** SHA-256 of its body, base64url: tells whether the events that are read again are still the same. */
  readonly sha256: string;
}

/** @returns undefined if it has not begun */
export async function readWebhookProgress(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  webhookId: string,
): Promise<WebhookProgress | undefined> {
  const text = await awaitAnswer(scripts.redis.get(keys.webhook(webhookId)));
  return text === null ? undefined : (JSON.parse(text) as WebhookProgress);
}

/** `left`: it had begun already, or (for a step) was removed with its webhook */
export type ProgressWrite = "written" | "left" | "stale";

export function beginWebhookProgress(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  token: string,
  webhookId: string,
  progress: WebhookProgress,
): Promise<ProgressWrite> {
  return write(scripts, keys, webhookId, [token, "begin", JSON.stringify(progress)]);
}

export function stepWebhookProgress(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  token: string,
  webhookId: string,
  progress: WebhookProgress,
): Promise<ProgressWrite> {
  return write(scripts, keys, webhookId, [token, "step", JSON.stringify(progress)]);
}

export function endWebhookProgress(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  token: string,
  webhookId: string,
): Promise<ProgressWrite> {
  return write(scripts, keys, webhookId, [token, "end", ""]);
}

/** For a webhook that is removed, even if nobody owns a partition. */
export async function dropWebhookProgress(
  scripts: ScriptRunner,
  partitions: readonly PartitionKeys[],
  webhookId: string,
): Promise<void> {
  await awaitAnswer(Promise.all(partitions.map((keys) => scripts.redis.del(keys.webhook(webhookId)))));
}

async function write(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  webhookId: string,
  args: readonly string[],
): Promise<ProgressWrite> {
  const answer = await scripts.run("step-webhook.v1", [keys.owner, keys.webhook(webhookId)], args);
  return answer as ProgressWrite;
}
