// redis/webhooks/webhooks-store -> here: a webhook as it is stored.
// Guarantees: secrets stand in it only sealed. What a later release adds is kept when this one changes something else.
import type { EventPosition } from "../../protocol/events/event-position.js";
import type { EventType } from "../../protocol/events/event-types.js";

/** Why it is paused, where that was not an operator: no attempt succeeded for days, or the receiver said 410. */
export type PausedReason = "exhausted" | "gone";

export interface WebhookRecord {
  readonly id: string;
  readonly url: string;
  /** null: all that are written. */
  readonly types: readonly EventType[] | null;
  readonly description: string | null;
  readonly paused: boolean;
  readonly pausedReason: PausedReason | null;
  /** Redis' clock, ms: delivery begins with what happens after it. */
  readonly createdAtMs: number;
  readonly sealedSecret: string;
  /** Of before a rotation, newest first; their time may be over. */
  readonly former: readonly FormerWebhookSecret[];
  /** Grows when it is resumed, or its address changes: what failed before counts no more. */
  readonly era: number;
  /** The last wish to begin again somewhere else. */
  readonly replay: WebhookReplay | null;
}

export interface FormerWebhookSecret {
  readonly sealedSecret: string;
  /** Redis' clock, ms: it signs before this. */
  readonly untilMs: number;
}

export interface WebhookReplay {
  /** Counts the wishes: each is fulfilled once in each partition. */
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
