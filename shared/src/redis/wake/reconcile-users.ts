// dispatch/reconcile-partitions -> here -> wake/reconcile.lua: finds users who hang, although nobody should.
// Guarantees: visits each user once per round; a user with open messages whom nothing watches is watched from then on.
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
  /** How long a fully acknowledged inbox is kept after its last message and acknowledgement. */
  readonly idleMs: number;
}

export interface Reconciled {
  readonly hanging: readonly HangingUser[];
  /** Users with open messages whose records must be prolonged, see keep-records. */
  readonly unkept: readonly string[];
  /** Users whose inboxes were emptied. */
  readonly emptied: readonly string[];
}

/**
 * @param userIds at most 200
 * @returns what to do, or "stale" if the token is no longer the owner's (nothing was changed)
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
