// auth: checks whether the external token issuers answer.
// Guarantees: while an issuer fails, the gauge is at most a few seconds old, even if no token arrives. An issuer that
// works gets no extra requests.
import type { TokenSource } from "@petrel/shared/security/tokens/token-source";

const CHECK_EVERY_MS = 5_000;

/** @returns a function that ends the watch */
export function watchTokenSources(
  sources: readonly Pick<TokenSource, "check">[],
  everyMs: number = CHECK_EVERY_MS,
): () => void {
  const check = (): void => {
    // The source logs why, once. auth keeps serving, because its own tokens do not depend on it.
    for (const source of sources) source.check().catch(() => undefined);
  };
  check();
  const timer = setInterval(check, everyMs);
  return () => clearInterval(timer);
}
