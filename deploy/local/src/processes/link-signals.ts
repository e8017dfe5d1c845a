// The local run: one signal for several reasons to give up.
// Guarantees: it fires. (AbortSignal.any holds its sources weakly: on Node 20 one that combines another combination
// with a timeout inside is collected, listeners and all, before the time is up.)

/** Aborted as soon as one of the sources is. */
export function abortedByAny(...sources: readonly AbortSignal[]): AbortSignal {
  const controller = new AbortController();
  for (const source of sources) {
    if (source.aborted) controller.abort(source.reason);
    else source.addEventListener("abort", () => controller.abort(source.reason), { once: true });
  }
  return controller.signal;
}
