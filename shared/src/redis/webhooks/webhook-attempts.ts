// dispatch/webhooks/post-signed -> here -> dispatch's routes: a webhook's last attempts.
// Guarantees: keeps the last thousand, for a month after the last of them; they are removed with their webhook.
import { STREAM_POSITION_PATTERN } from "../../kernel/http/page-query.js";
import { awaitAnswer } from "../connection/await-answer.js";
import type { Redis } from "../connection/connect.js";
import { clusterKeys } from "../keys.js";
import { NEWEST, olderThan, readBackwards } from "../streams/read-backwards.js";
import { fieldOf } from "../streams/stream-entry.js";

export interface WebhookAttempt {
  /** Wall clock, ms: when it began. */
  readonly atMs: number;
  /** The `webhook-id` that was sent. */
  readonly webhookId: string;
  readonly status?: number | undefined;
  readonly durationMs: number;
  /** Why there was no answer, or what was wrong with it. */
  readonly error?: string | undefined;
}

export interface WebhookAttemptPage {
  /** Newest first. */
  readonly items: readonly WebhookAttempt[];
  readonly nextCursor: string | undefined;
}

export const ATTEMPT_CURSOR_PATTERN = `^${STREAM_POSITION_PATTERN}$`;

const KEPT = 1_000;
const KEEP_MS = 30 * 24 * 60 * 60 * 1_000;

export class WebhookAttempts {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async append(id: string, attempt: WebhookAttempt): Promise<void> {
    const key = clusterKeys.webhookAttempts(id);
    const pipeline = this.#redis.pipeline();
    pipeline.xadd(key, "MAXLEN", "=", KEPT, "*", "a", JSON.stringify(attempt));
    // So that an attempt that ends after its webhook was removed does not stay forever.
    pipeline.pexpire(key, KEEP_MS);
    for (const [error] of (await pipeline.exec()) ?? []) if (error !== null) throw error;
  }

  /** @throws PetrelError PETREL_UNAVAILABLE if Redis does not answer */
  async list(id: string, cursor: string | undefined, limit: number): Promise<WebhookAttemptPage> {
    const from = cursor === undefined ? NEWEST : olderThan(cursor);
    const { entries } = await awaitAnswer(
      readBackwards(this.#redis, clusterKeys.webhookAttempts(id), from, limit + 1),
    );
    const page = entries.slice(0, limit);
    return {
      items: page.map(([, fields]) => JSON.parse(fieldOf(fields, "a")) as WebhookAttempt),
      nextCursor: entries.length > limit ? page.at(-1)?.[0] : undefined,
    };
  }

  async remove(id: string): Promise<void> {
    await awaitAnswer(this.#redis.del(clusterKeys.webhookAttempts(id)));
  }
}
