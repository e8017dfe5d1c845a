// fallback/ask-channel -> here: the fallback channel that posts messages to the business system's own address.
// Guarantees: one signed POST per attempt, through the same sender as webhooks. The address comes from the operator's
// configuration and may be private; no caller of an API can set it.
import { formatTime } from "@petrel/shared/kernel/http/answer-time";
import { makeWellFormed } from "@petrel/shared/protocol/messages/well-formed-json";
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Span, Tracing } from "@petrel/shared/kernel/tracing/tracing";
import type { ChannelAnswer, FallbackChannel, FallbackJob } from "../fallback-channel.js";
import { judgeAnswer } from "./judge-answer.js";
import { signWebhook } from "../../webhooks/sender/sign-webhook.js";
import { BODY_MS, type WebhookSender } from "../../webhooks/sender/webhook-sender.js";

export interface WebhookOptions {
  /** http: or https:, without user and password. */
  readonly url: string;
  /** Keys as bytes; every request is signed with each. */
  readonly secrets: readonly Buffer[];
  readonly sender: WebhookSender;
  /** The sender's. */
  readonly timeoutMs: number;
  readonly clock: Pick<Clock, "wallMs">;
  /** A sampled message's request carries its trace context to the receiver. */
  readonly tracing: Tracing;
}

export class WebhookChannel implements FallbackChannel {
  readonly name = "webhook";
  readonly longestSendMs: number;
  readonly #options: WebhookOptions;

  constructor(options: WebhookOptions) {
    this.#options = options;
    this.longestSendMs = options.timeoutMs + BODY_MS;
  }

  async send(job: FallbackJob, signal: AbortSignal): Promise<ChannelAnswer> {
    const { tracing } = this.#options;
    const span = tracing.beginSpan("send webhook", job.trace, {
      kind: "client",
      attributes: { "messaging.message.id": job.id, "petrel.channel": this.name },
    });
    if (span === undefined) return this.#post(job, signal, undefined);
    try {
      const answer = await this.#post(job, signal, span);
      span.set({ "petrel.outcome": answer.outcome });
      if ("reason" in answer) span.fail(answer.reason);
      return answer;
    } catch (error) {
      span.fail(describeError(error));
      throw error;
    } finally {
      span.end();
    }
  }

  async #post(job: FallbackJob, signal: AbortSignal, span: Span | undefined): Promise<ChannelAnswer> {
    const { url, secrets, sender, clock } = this.#options;
    const body = encodeJob(job);
    const headers = {
      ...signWebhook(job.id, clock.wallMs(), body, secrets),
      ...(span === undefined ? {} : { traceparent: span.context }),
    };
    const answer = await sender.post({ url, headers, body }, signal);
    if ("error" in answer) return { outcome: "retry", reason: answer.error };
    span?.set({ "http.request.method": "POST", "http.response.status_code": answer.status });
    return judgeAnswer(answer.status, answer.retryAfter, clock.wallMs());
  }

  close(): Promise<void> {
    this.#options.sender.close();
    return Promise.resolve();
  }
}

/**
 * Keeps the notification as the producer wrote it, except for half an emoji. Parsing and serializing it would change
 * numbers beyond 2^53.
 */
function encodeJob({
  id,
  userId: user,
  seq,
  epoch,
  acceptedAtMs,
  expiresAtMs,
  priority,
  notification,
  collapseKey,
}: FallbackJob): string {
  const acceptedAt = formatTime(acceptedAtMs);
  const expiresAt = formatTime(expiresAtMs);
  const envelope = JSON.stringify({ id, user, seq, epoch, acceptedAt, expiresAt, priority, collapseKey });
  return `${envelope.slice(0, -1)},"notification":${makeWellFormed(notification)}}`;
}
