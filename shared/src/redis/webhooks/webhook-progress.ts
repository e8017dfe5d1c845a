// dispatch/webhooks/webhook-lane -> here -> webhooks/step-webhook.lua: how far a webhook has got in a partition.
// Guarantees: only the partition's owner moves it. The open batch stands in it before it is first sent, so that whoever
// goes on sends the same under the same id.
import type { EventPosition } from "../../protocol/events/event-position.js";
import { awaitAnswer } from "../connection/await-answer.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface WebhookProgress {
  /** Behind what was delivered; or a time, ms by Redis' clock, where it begins. */
  readonly after: EventPosition | number;
  /** What is being delivered: begins behind `after`. */
  readonly open?: OpenBatch | undefined;
  /** Events before what comes next are gone, and the receiver has not been told yet. */
  readonly gap?: boolean | undefined;
  /** Attempts of the open batch that failed. */
  readonly failures: number;
  /** Wall clock, ms: of the first of them. */
  readonly failingSinceMs?: number | undefined;
  /** Wall clock, ms: not before this. */
  readonly nextAtMs?: number | undefined;
  /** The webhook's when this was written, see WebhookRecord. */
  readonly era: number;
  /** The number of the last replay that was fulfilled. */
  readonly replayed: number;
}

export interface OpenBatch {
  /** Its `webhook-id`. */
  readonly id: string;
  /** Behind its last event. */
  readonly end: EventPosition;
  /** Wall clock, ms: its `timestamp`. */
  readonly atMs: number;
  /** Something before it is gone. */
  readonly gap: boolean;
  /** SHA-256 of its body, base64url: tells whether what is read again is still the same. */
  readonly sha256: string;
}

/** @returns undefined where it has not begun */
export async function readWebhookProgress(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  webhookId: string,
): Promise<WebhookProgress | undefined> {
  const text = await awaitAnswer(scripts.redis.get(keys.webhook(webhookId)));
  return text === null ? undefined : (JSON.parse(text) as WebhookProgress);
}

/** `left`: it has begun already, or (a step) was removed with its webhook */
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

/** Of a webhook that is removed: also where nobody owns a partition. */
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
