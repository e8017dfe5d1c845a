// Which partition a user belongs to: every service decides it the same way.
// Guarantees: stable for a given userId and partition count. Never change the hash: the layout of stored data depends
// on it.

const FNV_OFFSET_BASIS = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/**
 * FNV-1a over the characters of the id (all ASCII, see ids.ts), modulo the partition count.
 * @param userId a valid user id
 * @param partitionCount P, fixed when the cluster is first created
 */
export function partitionOfUser(userId: string, partitionCount: number): number {
  let hash = FNV_OFFSET_BASIS;
  for (let i = 0; i < userId.length; i++) {
    hash = Math.imul(hash ^ userId.charCodeAt(i), FNV_PRIME);
  }
  // FNV's low bits are its weakest, so fold in the high half before the modulo.
  return ((hash ^ (hash >>> 16)) >>> 0) % partitionCount;
}
