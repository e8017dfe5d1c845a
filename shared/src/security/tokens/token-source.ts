// What a check of tokens depends on: auth's introspection, or the keys that an issuer publishes. For gauges and readiness.
// Guarantees: asking it costs nothing while it works; while it fails it is tried now and then, also where nobody connects.

export interface TokenSource {
  /** For a label. */
  readonly source: "introspection" | "auth" | "external";
  /** Why it failed the last time; undefined while it works. */
  readonly problem: string | undefined;
  /** Rejects where no token can be checked by it now. */
  readonly check: () => Promise<void>;
  /** Of a set of public keys: how many are used, and how many are not. */
  readonly keyCounts?: { readonly taken: number; readonly leftOut: number };
}
