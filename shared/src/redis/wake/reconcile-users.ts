// dispatch/reconcile-partitions -> here -> wake/reconcile.lua: users who hang, though nobody should.
// Guarantees: looks at each user once in a round; watches from then on a user who has something open and is not
// watched.
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export const hangReasons = ["unwatched", "overdue", "broken"] as const;

/** See wake/reconcile.lua. */
export type HangReason = (typeof hangReasons)[number];

export interface HangingUser {
  readonly userId: string;
  readonly reason: HangReason;
  /** Messages above this, up to and including `seq`, are open. */
  readonly acked: number;
  readonly seq: number;
}

export interface ReconcileRules {
  /** How long after its due time a user counts as hanging. */
  readonly overdueMs: number;
  /** How long an acknowledged inbox is kept after its last message and acknowledgement. */
  readonly idleMs: number;
}

export interface Reconciled {
  readonly hanging: readonly HangingUser[];
  /** Users with open messages, whose records must be kept, see keep-records. */
  readonly unkept: readonly string[];
  /** Users whose inboxes were emptied. */
  readonly emptied: readonly string[];
}

/**
 * @param userIds at most 200
 * @returns what is to be done, or "stale" where the token is not the owner's any more (nothing was changed)
 */
export async function reconcileUsers(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  token: string,
  { overdueMs, idleMs }: ReconcileRules,
  userIds: readonly string[],
): Promise<Reconciled | "stale"> {
  const answer = await scripts.run(
    "reconcile.v2",
    [keys.owner, keys.due, ...userIds.flatMap((userId) => [keys.user(userId), keys.inbox(userId)])],
    [token, overdueMs, idleMs, ...userIds],
  );
  if (answer === "stale") return answer;
  const lines = answer.split("\n");
  const hanging: HangingUser[] = [];
  const unkept: string[] = [];
  const emptied: string[] = [];
  for (const [i, userId] of userIds.entries()) {
    const [word, acked, seq, note] = (lines[i] ?? "").split("\t");
    const reason = hangReasons.find((known) => known === word);
    if (reason !== undefined) hanging.push({ userId, reason, acked: Number(acked), seq: Number(seq) });
    if (note === "unkept") unkept.push(userId);
    if (note === "emptied") emptied.push(userId);
  }
  return { hanging, unkept, emptied };
}
