// auth: asks the issuers whose tokens it takes, beside its own, whether they answer.
// Guarantees: what the gauge shows is at most some seconds old while an issuer fails, also where nobody brings a token;
// one that answers is asked for nothing.
import type { TokenSource } from "@petrel/shared/security/tokens/token-source";

const CHECK_EVERY_MS = 5_000;

/** @returns ends it */
export function watchTokenSources(
  sources: readonly Pick<TokenSource, "check">[],
  everyMs: number = CHECK_EVERY_MS,
): () => void {
  const check = (): void => {
    // Its own line says why, once; auth serves on: its own tokens do not depend on it.
    for (const source of sources) source.check().catch(() => undefined);
  };
  check();
  const timer = setInterval(check, everyMs);
  return () => clearInterval(timer);
}
