// services/*, redis/* -> here: the wait between two attempts, or two rounds of a loop; and for work, with a bound.
// Guarantees: leaves no timer or listener behind. A pause never rejects.

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

/**
 * Resolves when all are done, or the time is up. An idle dispatcher asks several times a second, so it is a plain timer:
 * an AbortController would make an error with a stack each time it is aborted.
 * @throws what the first of them rejects with before that
 */
export function settledOr(all: Iterable<Promise<unknown>>, ms: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    Promise.all(all).then(
      () => {
        clearTimeout(timer);
        resolve();
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}
