// Tests only: waits for something to become true, instead of sleeping and hoping.
// Guarantees: resolves soon after the check can succeed; throws, naming what was waited for, when the deadline has passed.
import { setTimeout as sleep } from "node:timers/promises";

export interface WaitForOptions {
  /** What is waited for, completing "waited … ms for …". */
  readonly what: string;
  /** Generous on purpose: only a failing test waits this long. */
  readonly deadlineMs?: number;
  /** More often at first by default: most waits are short, and a check may be a request to a service. */
  readonly everyMs?: number;
}

const FIRST_EVERY_MS = 20;
const LATER_EVERY_MS = 80;
/** The longest pause, as a fraction of the time waited so far. */
const SHARE = 0.1;

/**
 * @param check called again and again; an error counts as "not yet" and becomes the cause of the final error
 * @returns the check's first truthy value
 */
export async function waitFor<T>(
  check: () => T | Promise<T>,
  { what, deadlineMs = 30_000, everyMs }: WaitForOptions,
): Promise<Exclude<Awaited<T>, undefined | null | false | 0 | "">> {
  const startMs = performance.now();
  let lastError: unknown;
  for (;;) {
    try {
      const value = await check();
      if (value) return value as Exclude<Awaited<T>, undefined | null | false | 0 | "">;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    const waitedMs = performance.now() - startMs;
    if (waitedMs >= deadlineMs) {
      const because = lastError instanceof Error ? `: ${lastError.message}` : "";
      throw new Error(`waited ${deadlineMs} ms for ${what}${because}`, { cause: lastError });
    }
    await sleep(everyMs ?? Math.min(LATER_EVERY_MS, Math.max(FIRST_EVERY_MS, SHARE * waitedMs)));
  }
}
