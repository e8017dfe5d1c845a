// What a check of tokens depends on: auth's introspection, or the keys that an issuer publishes. For gauges and
// readiness.
// Guarantees: a check costs nothing while the source works; while it fails it is retried regularly, even if nobody
// connects.

export interface TokenSource {
  /** For a label. */
  readonly source: "introspection" | "auth" | "external";
  /** Why it last failed; undefined while it works. */
  readonly problem: string | undefined;
  /** Rejects if it can check no token now. */
  readonly check: () => Promise<void>;
  /** For a set of public keys: how many are used, and how many are not. */
  readonly keyCounts?: { readonly taken: number; readonly leftOut: number };
}
