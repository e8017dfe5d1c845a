// own-partitions -> here: which dispatcher each partition belongs to, while all are well.
// Guarantees: everyone who sees the same members decides alike; every partition has exactly one member, and no two
// members' shares differ by more than one.

/**
 * @param partition 0 … P-1
 * @param members live dispatchers' ids in lexical order
 * @returns undefined where there are none
 */
export function preferredMember(partition: number, members: readonly string[]): string | undefined {
  return members[partition % members.length];
}
