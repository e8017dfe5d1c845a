// fallback/send-by-channels -> here: the fallback channel that posts messages to the business system's own address.
// Guarantees: one signed POST an attempt, no redirect followed; an answer within the deadline, whatever the receiver does;
// only a little of its body is read.
import { formatTime } from "@petrel/shared/kernel/http/answer-time";
import { makeWellFormed } from "@petrel/shared/protocol/messages/well-formed-json";
import { setTimeout as pause } from "node:timers/promises";
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Span, Tracing } from "@petrel/shared/kernel/tracing/tracing";
import type { ChannelAnswer, FallbackChannel, FallbackJob } from "../fallback-channel.js";
import { judgeAnswer } from "./judge-answer.js";
import { signWebhook } from "./sign-webhook.js";

export interface WebhookOptions {
  /** http: or https:, without user and password. */
  readonly url: string;
  /** Keys as bytes; every request is signed with each. */
  readonly secrets: readonly Buffer[];
  /** For the whole of a request, to the head of its answer. */
  readonly timeoutMs: number;
  readonly clock: Pick<Clock, "wallMs">;
  /** Where a message is sampled, its request says so to the receiver. */
  readonly tracing: Tracing;
}

/** An answer's body is ignored, but read to its end, so that the connection serves the next request. */
const BODY_BYTES = 64 * 1024;
const BODY_MS = 500;

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
    const { url, secrets, timeoutMs, clock } = this.#options;
    const body = encodeJob(job);
    const timeout = AbortSignal.timeout(timeoutMs);
    let response: Response;
    try {
      response = await fetch(url, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          "user-agent": "petrel",
          ...signWebhook(job.id, clock.wallMs(), body, secrets),
          ...(span === undefined ? {} : { traceparent: span.context }),
        },
        body,
        redirect: "manual",
        signal: AbortSignal.any([signal, timeout]),
      });
    } catch (error) {
      if (signal.aborted) throw error;
      const reason = timeout.aborted ? `no answer within ${timeoutMs} ms` : causeOf(error);
      return { outcome: "retry", reason };
    }
    span?.set({ "http.request.method": "POST", "http.response.status_code": response.status });
    await skipBody(response);
    return judgeAnswer(response.status, response.headers.get("retry-after"), clock.wallMs());
  }

  close(): Promise<void> {
    // Connections that are kept belong to the process' own pool, and end with it.
    return Promise.resolve();
  }
}

/**
 * The notification as the producer wrote it, except for half an emoji. Parsed and written again, numbers beyond 2^53
 * would change.
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

/** Never fails: what the answer means is known by its head. */
async function skipBody({ body }: Response): Promise<void> {
  const reader = body?.getReader();
  if (reader === undefined) return;
  const tooLong = new AbortController();
  const timer = pause(BODY_MS, "over" as const, { signal: tooLong.signal }).catch(() => "over" as const);
  try {
    for (let bytes = 0; bytes <= BODY_BYTES;) {
      const read = await Promise.race([reader.read(), timer]);
      if (read === "over") break;
      if (read.done) return;
      bytes += read.value.byteLength;
    }
    // What was not read ends with the connection.
    void reader.cancel().catch(() => undefined);
  } catch {
    // Cut off in the middle of its body: still an answer.
  } finally {
    tooLong.abort();
  }
}

/** `fetch` hides the reason, such as ECONNREFUSED, one level down. */
function causeOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  if (!(cause instanceof Error)) return describeError(error);
  const { code, message } = cause as NodeJS.ErrnoException;
  return code ?? (message === "" ? describeError(error) : message);
}
