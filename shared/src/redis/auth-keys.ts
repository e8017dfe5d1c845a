// The names of the keys that auth owns.
// Guarantees: cluster-wide ones share one hash tag; what belongs to a user carries the tag of the user's partition.

export const authKeys = Object.freeze({
  /** hash: id owner name scopes secretSha256 createdAt revokedAt? rotatedAt? fileSecretSha256? */
  producerKey: (keyId: string) => `petrel:{auth}:producer-key:${keyId}`,
  /** sorted set, all scores 0: the ids of all producer keys, in lexical order */
  producerKeyIds: "petrel:{auth}:producer-keys",
  /** string, JSON: the key that signs tokens now */
  activeSigningKey: "petrel:{auth}:active-signing-key",
});

/**
 * string, an integer: how often all tokens of a user were revoked
 * @param partition the user's
 */
export function tokenGenerationKey(partition: number, userId: string): string {
  return `petrel:{p${partition}}:token-generation:${userId}`;
}
