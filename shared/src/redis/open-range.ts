// dispatch/expire-users -> here: which of a user's messages are open.
// Guarantees: what is assigned later has a larger seq than the one read here.
import type { PartitionKeys } from "./keys.js";
import type { Redis } from "./connect.js";

/** Open is what is above `acked`, up to and including `seq`. */
export interface OpenRange {
  readonly acked: number;
  readonly seq: number;
  readonly epoch: string;
}

/** @returns undefined where Redis has no such user (any more) */
export async function readOpenRange(
  redis: Redis,
  keys: PartitionKeys,
  userId: string,
): Promise<OpenRange | undefined> {
  const [seq, acked, epoch] = await redis.hmget(keys.user(userId), "seq", "acked", "epoch");
  if (typeof seq !== "string") return undefined;
  return { acked: Number(acked ?? 0), seq: Number(seq), epoch: epoch ?? "" };
}
