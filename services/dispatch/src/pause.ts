// Waits between the rounds of a loop.
// Guarantees: ends early, without an error, when the loop is asked to stop.

/** @returns when the time is over or the signal is aborted, whichever comes first */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
  });
}
