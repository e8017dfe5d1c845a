// channels/webhook/judge-answer, channels/apns/connection/read-apns-answer -> here: the header Retry-After.
// Guarantees: never fails; what cannot be read is undefined, and a wish to wait is bounded.

/** A longer pause than an hour is a fault, which is to be looked into sooner. */
const MAX_RETRY_AFTER_MS = 60 * 60 * 1000;

/**
 * @param value seconds, or an HTTP date (RFC 9110 10.2.3)
 * @param nowMs ms since 1970
 * @returns milliseconds from now, from 0 to an hour; undefined where there is none that can be read
 */
export function parseRetryAfterMs(value: string | null, nowMs: number): number | undefined {
  if (value === null) return undefined;
  const text = value.trim();
  if (/^\d+$/.test(text)) return Math.min(Number(text) * 1000, MAX_RETRY_AFTER_MS);
  // A date begins with its day's name; Date.parse would read much else as one.
  const atMs = /^[A-Za-z]{3,9},? /.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(atMs) ? undefined : Math.min(Math.max(0, atMs - nowMs), MAX_RETRY_AFTER_MS);
}
