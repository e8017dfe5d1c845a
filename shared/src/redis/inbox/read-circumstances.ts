// collect/explain-message -> here: what Redis knows about one message besides its record: its user's cursors, the
// policy it was sent with, and what is about to happen to it.
// Guarantees: reads only. Each fact held at some moment during the call; together they are not a snapshot.
import { decodeSkip, type FallbackSkip } from "../../protocol/fallback/fallback-skip.js";
import { decodeInboxMessage, type InboxMessage } from "../../protocol/messages/stored-message.js";
import { readServerTimeMs } from "../connection/server-time.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface UserCursors {
  readonly seq: number;
  readonly acked: number;
  readonly ackedAtMs: number | undefined;
  /** Messages up to this one were sent to a node again. */
  readonly nudged: number;
}

export interface Circumstances {
  /** By Redis' clock. */
  readonly nowMs: number;
  /** Undefined if the user has no sequence. */
  readonly cursors: UserCursors | undefined;
  /** From the inbox, which holds the open messages and the newest acknowledged ones. */
  readonly entry: Pick<InboxMessage, "fallback" | "priority" | "notification"> | undefined;
  /** When a dispatcher looks at the user next. */
  readonly nextLookMs: number | undefined;
  /** A channel is being asked right now. */
  readonly isSending: boolean;
  readonly skips: readonly FallbackSkip[];
}

/** @param seq the message's number */
export async function readCircumstances(
  { redis }: ScriptRunner,
  keys: PartitionKeys,
  { id, userId, seq }: { readonly id: string; readonly userId: string; readonly seq: number },
): Promise<Circumstances> {
  const entryId = `${seq}-0`;
  const [nowMs, user, [entry], nextLook, sending, notes] = await Promise.all([
    readServerTimeMs(redis, keys.due),
    redis.hmget(keys.user(userId), "seq", "acked", "ackedAt", "nudged"),
    redis.xrange(keys.inbox(userId), entryId, entryId),
    redis.zscore(keys.due, userId),
    redis.exists(keys.sending(id)),
    redis.lrange(keys.attempts(id), 0, -1),
  ]);
  const message = entry === undefined ? undefined : decodeInboxMessage(seq, entry[1][1] ?? "");
  return {
    nowMs,
    cursors: cursorsOf(user),
    // The user was erased meanwhile: the number belongs to another message.
    entry: message?.id === id ? message : undefined,
    nextLookMs: nextLook === null ? undefined : Number(nextLook),
    isSending: sending === 1,
    skips: notes.flatMap((note) => decodeSkip(note) ?? []),
  };
}

function cursorsOf([seq, acked, ackedAt, nudged]: (string | null)[]): UserCursors | undefined {
  if (typeof seq !== "string") return undefined;
  return {
    seq: Number(seq),
    acked: Number(acked ?? 0),
    ackedAtMs: typeof ackedAt === "string" ? Number(ackedAt) : undefined,
    nudged: Number(nudged ?? 0),
  };
}
