// The names of the keys that auth owns.
// Guarantees: they share one hash tag; a user's keys are in keys.ts.

export const authKeys = Object.freeze({
  /**
   * hash: id owner name scopes secretSha256 createdAt revokedAt? suspendedAt? rotatedAt? fileSecretSha256? sealedSecret? require?
   * messagesPerSecond? former? (lines of secretSha256 TAB until, ms TAB sealedSecret or nothing)
   */
  producerKey: (keyId: string) => `petrel:{auth}:producer-key:${keyId}`,
  /** sorted set, all scores 0: the ids of all producer keys, in lexical order */
  producerKeyIds: "petrel:{auth}:producer-keys",
  /** string with a TTL, in a slot of its own: this nonce of a signed request was used */
  spentNonce: (digest: string) => `petrel:nonce:${digest}`,
  /** string: revision LF JSON, see signing-keys-store.ts */
  signingKeys: "petrel:{auth}:signing-keys",
});
