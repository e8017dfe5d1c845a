// archiver -> here: decides what to do with an archive row, given what Redis knows of its message.
// Guarantees: a pure decision. A final end is written once and not checked again. A row is re-driven only if Redis has
// lost data since the message was accepted.
import type { ArchivedRow, RowUpdate } from "@petrel/shared/archive/message-archive";
import type { FoundMessage } from "@petrel/shared/redis/inbox/read-message";

export type Verdict =
  | { readonly kind: "update"; readonly update: RowUpdate }
  /** Its user has been erased since. */
  | { readonly kind: "remove" }
  /** Redis has lost it, and it had not ended. */
  | { readonly kind: "drive" };

export interface Circumstances {
  /** By Redis's clock. */
  readonly nowMs: number;
  /** Everything this user got up to this time is erased. */
  readonly erasedUntilMs: number | undefined;
  /** Set if Redis lost data: messages accepted by then that Redis does not know are lost. */
  readonly lostBeforeMs: number | undefined;
}

/**
 * An open row is checked again after as long as it is old, within these bounds; so an end is seen at most this late.
 */
export const LOOK_AT_LEAST_MS = 3_000;
export const LOOK_AT_MOST_MS = 5 * 60_000;
/** Longer than a call of collect that is still under way can take to store the message. */
const MISSING_MS = 3 * 60_000;
/** The clock of the collect that wrote a row may be ahead of Redis's. */
export const CLOCK_TOLERANCE_MS = 60_000;

export function judgeRow(row: ArchivedRow, found: FoundMessage | undefined, at: Circumstances): Verdict {
  if (at.erasedUntilMs !== undefined && row.acceptedAtMs <= at.erasedUntilMs) return { kind: "remove" };
  return found === undefined ? judgeMissing(row, at) : judgeFound(row, found, at.nowMs);
}

function judgeFound(row: ArchivedRow, found: FoundMessage, nowMs: number): Verdict {
  const { record, state } = found;
  const numbered = state === "scheduled" || record.seq < 1 ? {} : { seq: record.seq, epoch: record.epoch };
  const update: RowUpdate = {
    id: row.id,
    state,
    ...numbered,
    // Take Redis's time of acceptance, except for a re-driven message.
    ...(row.state === "pending" && !row.isLost ? { acceptedAtMs: record.atMs } : {}),
    expiresAtMs: record.expiresAtMs,
    ...(row.missingSinceMs === undefined ? {} : { missingSinceMs: null }),
    ...(row.isLost ? { isLost: null } : {}),
  };
  if (state === "queued" || state === "scheduled")
    return { kind: "update", update: { ...update, lookAtMs: nextLook(row, nowMs) } };
  const stateAtMs = "stateAtMs" in found ? found.stateAtMs : record.end?.atMs;
  const ended: RowUpdate = {
    ...update,
    endedAtMs: stateAtMs ?? (state === "published" ? publishedAt(row, record) : nowMs),
    word: state === "delivered" ? undefined : record.end?.word,
  };
  // Until it expires, a client may still acknowledge a message that was pushed or failed.
  const isFinal = (state !== "pushed" && state !== "failed") || record.expiresAtMs <= nowMs;
  return { kind: "update", update: { ...ended, lookAtMs: isFinal ? null : nextLook(row, nowMs) } };
}

/**
 * The record of one that was scheduled has when it was accepted, and when it expires: that counts from its publication,
 * but not where only the rest of its time to live was left. That is so after a late re-drive, which is accepted when its
 * time has passed and published a second later.
 */
function publishedAt(row: ArchivedRow, { atMs, expiresAtMs }: FoundMessage["record"]): number {
  const { history, ttlMs, deliverAtMs = 0 } = row;
  if (history === undefined) return atMs;
  return Math.max(expiresAtMs - Math.min(ttlMs, history.ageMs), deliverAtMs, atMs);
}

function judgeMissing(row: ArchivedRow, { nowMs, lostBeforeMs }: Circumstances): Verdict {
  const { id, state, expiresAtMs } = row;
  const end = (as: "expired" | "refused" | "unknown"): Verdict => ({
    kind: "update",
    update: { id, state: as, endedAtMs: nowMs, lookAtMs: null, missingSinceMs: null, isLost: null },
  });
  // Published for good, or an end that only an acknowledgement could have changed, and Redis has forgotten the message.
  if (state === "published" || state === "pushed" || state === "failed")
    return { kind: "update", update: { id, lookAtMs: null, missingSinceMs: null } };
  // A topic's message has ended where it was published; one that waited for its time had not.
  const mayBeDriven = !row.recipient.startsWith("#") || row.history !== undefined;
  const wasSeen = state !== "pending";
  const isLost =
    row.isLost || (lostBeforeMs !== undefined && row.acceptedAtMs <= lostBeforeMs + CLOCK_TOLERANCE_MS);
  if (isLost && mayBeDriven) return expiresAtMs <= nowMs ? end("expired") : { kind: "drive" };
  if (row.missingSinceMs === undefined)
    return {
      kind: "update",
      update: { id, missingSinceMs: nowMs, lookAtMs: nextLook(row, nowMs) },
    };
  if (nowMs - row.missingSinceMs < MISSING_MS)
    return { kind: "update", update: { id, lookAtMs: nextLook(row, nowMs) } };
  // It was never accepted; or it ended unobserved, so long ago that Redis has forgotten it.
  return end(wasSeen ? "unknown" : "refused");
}

function nextLook(row: ArchivedRow, nowMs: number): number {
  const ageMs = nowMs - row.acceptedAtMs;
  const againMs = nowMs + Math.min(LOOK_AT_MOST_MS, Math.max(LOOK_AT_LEAST_MS, ageMs));
  const { deliverAtMs = 0 } = row;
  return deliverAtMs > nowMs ? Math.min(againMs, deliverAtMs + LOOK_AT_LEAST_MS) : againMs;
}
