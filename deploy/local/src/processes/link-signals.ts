// The local run: combines several abort signals.
// Guarantees: it fires. (AbortSignal.any holds its sources weakly: on Node 20, a combination of a combination with a
// timeout is collected, including its listeners, before the timeout.)

/** Aborted as soon as one of the sources is. */
export function abortedByAny(...sources: readonly AbortSignal[]): AbortSignal {
  const controller = new AbortController();
  for (const source of sources) {
    if (source.aborted) controller.abort(source.reason);
    else source.addEventListener("abort", () => controller.abort(source.reason), { once: true });
  }
  return controller.signal;
}
