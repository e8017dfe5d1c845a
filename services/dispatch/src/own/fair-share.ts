// own-partitions -> here: which dispatcher each partition belongs to while all are well.
// Guarantees: everyone who sees the same members decides the same. Every partition has exactly one member, and shares
// differ by at most one.

/**
 * @param partition 0 … P-1
 * @param members live dispatchers' ids in lexical order
 * @returns undefined if there are none
 */
export function preferredMember(partition: number, members: readonly string[]): string | undefined {
  return members[partition % members.length];
}
