// redis/webhooks/webhooks-store -> here: a webhook as it is stored.
// Guarantees: holds secrets only sealed. Fields of a later release are kept when this one changes something else.
import type { EventPosition } from "../../protocol/events/event-position.js";
import type { EventType } from "../../protocol/events/event-types.js";

/** Why it is paused, if not by an operator: no attempt succeeded for days, or the receiver answered 410. */
export type PausedReason = "exhausted" | "gone";

export interface WebhookRecord {
  readonly id: string;
  readonly url: string;
  /** null: all enabled types. */
  readonly types: readonly EventType[] | null;
  readonly description: string | null;
  readonly paused: boolean;
  readonly pausedReason: PausedReason | null;
  /** Redis's clock, ms: delivery begins with later events. */
  readonly createdAtMs: number;
  readonly sealedSecret: string;
  /** Secrets from before a rotation, newest first; some may have expired. */
  readonly former: readonly FormerWebhookSecret[];
  /** Grows when it is resumed or its address changes: earlier failures no longer count then. */
  readonly era: number;
  /** The last request to begin again somewhere else. */
  readonly replay: WebhookReplay | null;
}

export interface FormerWebhookSecret {
  readonly sealedSecret: string;
  /** Redis's clock, ms: it signs before this. */
  readonly untilMs: number;
}

export interface WebhookReplay {
  /** Counts the requests: each is carried out once in each partition. */
  readonly number: number;
  /** By partition; or a time for all of them, ms by Redis' clock. */
  readonly after: readonly EventPosition[] | number;
}

export function encodeWebhook(record: WebhookRecord): string {
  return JSON.stringify(record);
}

export function decodeWebhook(text: string): WebhookRecord {
  return JSON.parse(text) as WebhookRecord;
}
