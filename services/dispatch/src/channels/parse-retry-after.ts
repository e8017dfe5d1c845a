// channels/webhook/judge-answer, channels/apns/connection/read-apns-answer -> here: the header Retry-After.
// Guarantees: never fails: what cannot be parsed is undefined, and the result is bounded.

/** A longer request is treated as a mistake: an hour is enough to notice that it is over. */
const MAX_RETRY_AFTER_MS = 60 * 60 * 1000;

/**
 * @param value seconds, or an HTTP date (RFC 9110 10.2.3)
 * @param nowMs ms since 1970
 * @returns milliseconds from now, from 0 to an hour; undefined if there is none, or it cannot be parsed
 */
export function parseRetryAfterMs(value: string | null, nowMs: number): number | undefined {
  if (value === null) return undefined;
  const text = value.trim();
  if (/^\d+$/.test(text)) return Math.min(Number(text) * 1000, MAX_RETRY_AFTER_MS);
  // An HTTP date begins with the day's name; Date.parse alone would accept much else.
  const atMs = /^[A-Za-z]{3,9},? /.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(atMs) ? undefined : Math.min(Math.max(0, atMs - nowMs), MAX_RETRY_AFTER_MS);
}
