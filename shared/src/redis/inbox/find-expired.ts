// dispatch/expire-users -> here -> inbox/find-expired.lua: which of a user's open messages have expired.
// Guarantees: reads in pages, so no look blocks Redis; returns only numbers and times, however large the messages are.
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/** An open message that has expired. */
export interface OverdueMessage {
  readonly seq: number;
  readonly epoch: string;
  readonly id: string;
}

/** How far a look has got; starts as `undefined`. */
export interface LookPosition {
  /** The seq at the end of the last page. */
  readonly after: number;
  /** All open messages up to and including this seq have expired. */
  readonly head?: number;
  /** How much the look has read so far. */
  readonly entries: number;
  readonly bytes: number;
}

export interface OverduePage {
  /** Redis' clock, ms. */
  readonly nowMs: number;
  /** The user's seq when this page was read. */
  readonly seq: number;
  readonly epoch: string;
  readonly position: LookPosition;
  /** The earliest expiry on this page that is still to come, ms. */
  readonly nextMs: number | undefined;
  /** Ascending by seq. */
  readonly overdue: readonly OverdueMessage[];
}

/**
 * @param writtenAtMs for the end of a look: when it began; all ends that it found are written
 * @returns undefined if there is no such user, or the user has no open messages
 */
export async function findExpired(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  userId: string,
  position: LookPosition | undefined,
  writtenAtMs?: number,
): Promise<OverduePage | undefined> {
  const answer = await scripts.run(
    "find-expired.v2",
    [keys.user(userId), keys.inbox(userId)],
    [
      position?.after ?? "",
      position?.entries ?? 0,
      position?.bytes ?? 0,
      position?.head ?? "",
      writtenAtMs ?? "",
    ],
  );
  if (answer === "") return undefined;
  const [head = "", ...lines] = answer.split("\n");
  const [now, seq, epoch = "", after, next, entries, bytes, atHead] = head.split("\t");
  return {
    nowMs: Number(now),
    seq: Number(seq),
    epoch,
    position: { after: Number(after), entries: Number(entries), bytes: Number(bytes), head: Number(atHead) },
    nextMs: next === "" ? undefined : Number(next),
    overdue: lines.map((line) => {
      const [overdueSeq, overdueEpoch = "", id = ""] = line.split("\t");
      return { seq: Number(overdueSeq), epoch: overdueEpoch, id };
    }),
  };
}
