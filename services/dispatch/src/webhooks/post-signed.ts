// webhooks/webhook-lane, routes/webhook-routes -> here -> webhooks/sender/webhook-sender: one attempt, signed and
// recorded.
// Guarantees: timestamp and signatures are new at each attempt; the id and the body are the caller's. The result is
// recorded if Redis accepts it, without delaying anybody.
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { WebhookAttempt, WebhookAttempts } from "@petrel/shared/redis/webhooks/webhook-attempts";
import type { WebhookRecord } from "@petrel/shared/redis/webhooks/webhook-record";
import { parseRetryAfterMs } from "../channels/parse-retry-after.js";
import { signWebhook } from "./sender/sign-webhook.js";
import type { PostAnswer, WebhookSender } from "./sender/webhook-sender.js";
import type { WebhookSecrets } from "./webhook-secrets.js";

export interface PostSignedDeps {
  readonly secrets: WebhookSecrets;
  readonly attempts: Pick<WebhookAttempts, "append">;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface SignedPost {
  readonly sender: WebhookSender;
  readonly webhook: WebhookRecord;
  /** Its `webhook-id`. */
  readonly id: string;
  readonly body: string;
}

export const attemptOutcomes = ["delivered", "status", "gone", "timeout", "refused", "failed"] as const;
/** `status`: an answer that is not 2xx · `refused`: the address must not be posted to · `failed`: no answer */
export type AttemptOutcome = (typeof attemptOutcomes)[number];

export interface SignedAnswer {
  readonly outcome: AttemptOutcome;
  /** How long the receiver wants no requests. */
  readonly retryAfterMs: number;
  readonly attempt: WebhookAttempt;
}

const GONE = 410;

/** @throws only if `signal` is aborted; the request's result is unknown then */
export async function postSigned(
  { secrets, attempts, clock, logger }: PostSignedDeps,
  { sender, webhook, id, body }: SignedPost,
  signal: AbortSignal,
): Promise<SignedAnswer> {
  const [atMs, startMs] = [clock.wallMs(), clock.monotonicMs()];
  let answer: PostAnswer;
  try {
    const headers = signWebhook(id, atMs, body, secrets.open(webhook, atMs));
    answer = await sender.post({ url: webhook.url, headers, body }, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    answer = { error: `not signed: ${describeError(error)}`, kind: "failed" };
  }
  const durationMs = Math.round(clock.monotonicMs() - startMs);
  const { outcome, error } = judge(answer);
  const attempt = {
    atMs,
    webhookId: id,
    durationMs,
    ...("status" in answer ? { status: answer.status } : {}),
    ...(error === undefined ? {} : { error }),
  };
  void attempts.append(webhook.id, attempt).catch((reason: unknown) => {
    logger.warn({ webhook: webhook.id, reason: describeError(reason) }, "webhook attempt not recorded");
  });
  const retryAfterMs = "status" in answer ? (parseRetryAfterMs(answer.retryAfter, clock.wallMs()) ?? 0) : 0;
  return { outcome, retryAfterMs, attempt };
}

function judge(answer: PostAnswer): { readonly outcome: AttemptOutcome; readonly error?: string } {
  if ("error" in answer) return { outcome: answer.kind, error: answer.error };
  const { status } = answer;
  if (status >= 200 && status < 300) return { outcome: "delivered" };
  const error =
    status >= 300 && status < 400 ? `HTTP ${status}: redirects are not followed` : `HTTP ${status}`;
  return { outcome: status === GONE ? "gone" : "status", error };
}
