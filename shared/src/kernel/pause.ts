// services/*, redis/* -> here: the wait between two attempts, or two rounds of a loop.
// Guarantees: never rejects; leaves no timer or listener behind.

/** Resolves when the time is over or the signal is aborted, whichever comes first. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done, { once: true });
  });
}
