// webhook-channel -> here: what a receiver's answer means.
// Guarantees: the table of docs/phones/fallback.md; every status has one meaning, and a Retry-After is bounded.
import type { ChannelOutcome } from "../fallback-channel.js";
import { parseRetryAfterMs } from "../parse-retry-after.js";

/** May pass by themselves: RFC 9110 15.5.9, RFC 8470 5.2, RFC 6585 4. */
const passing: ReadonlySet<number> = new Set([408, 425, 429]);
/** Not about this message: a wrong address or secret would fail any message. */
const aboutTheSetUp: ReadonlySet<number> = new Set([401, 403, 404, 405, 410]);

/**
 * @param retryAfter the header's value
 * @param nowMs ms since 1970
 */
export function judgeAnswer(status: number, retryAfter: string | null, nowMs: number): ChannelOutcome {
  if (status >= 200 && status < 300) return { outcome: "taken" };
  const reason = `HTTP ${status}`;
  if (passing.has(status) || status >= 500) {
    const afterMs = parseRetryAfterMs(retryAfter, nowMs);
    return afterMs === undefined ? { outcome: "retry", reason } : { outcome: "retry", reason, afterMs };
  }
  const isRedirect = status >= 300 && status < 400;
  const isSetUp = isRedirect || aboutTheSetUp.has(status);
  return {
    outcome: "failed",
    cause: isSetUp ? "misconfigured" : "rejected",
    reason: isRedirect ? `${reason}: redirects are not followed` : reason,
  };
}
