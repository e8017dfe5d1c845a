// Tests only: waits for something to become true, instead of sleeping and hoping.
// Guarantees: resolves as soon as the check succeeds; throws, naming what was waited for, when the deadline has passed.
import { setTimeout as sleep } from "node:timers/promises";

export interface WaitForOptions {
  /** What is waited for, completing "waited … ms for …". */
  readonly what: string;
  /** Generous by default: only a failure waits for it. */
  readonly deadlineMs?: number;
  readonly everyMs?: number;
}

/**
 * @param check called again and again; an error counts as "not yet" and becomes the cause of the final error
 * @returns the check's first truthy value
 */
export async function waitFor<T>(
  check: () => T | Promise<T>,
  { what, deadlineMs = 30_000, everyMs = 20 }: WaitForOptions,
): Promise<Exclude<Awaited<T>, undefined | null | false | 0 | "">> {
  const end = performance.now() + deadlineMs;
  let lastError: unknown;
  for (;;) {
    try {
      const value = await check();
      if (value) return value as Exclude<Awaited<T>, undefined | null | false | 0 | "">;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    if (performance.now() >= end) {
      const because = lastError instanceof Error ? `: ${lastError.message}` : "";
      throw new Error(`waited ${deadlineMs} ms for ${what}${because}`, { cause: lastError });
    }
    await sleep(everyMs);
  }
}
