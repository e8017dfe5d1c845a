// fall-back -> here -> recall/begin-send: a message's state just before a channel is asked, and the note that it is
// being sent.
// Guarantees: once the note says `go`, nobody can recall the message until the attempt is settled, or its claim has
// expired.
import { lineageOf } from "@petrel/shared/protocol/messages/stored-message";
import { keepRecords } from "@petrel/shared/redis/inbox/keep-records";
import { readMessage } from "@petrel/shared/redis/inbox/read-message";
import { beginSend } from "@petrel/shared/redis/recall/begin-send";
import type { DropReason } from "./fallback-metrics.js";
import type { FallBackOptions, HeldEntry } from "./held-entry.js";
import { askUntil } from "./ask-until.js";

/** Call it just before a channel is asked. */
export async function noteSend(
  { scripts, clock, claimMs }: FallBackOptions,
  { entry, sendBeforeMs, signal }: HeldEntry,
  name: string,
): Promise<"go" | "ended" | "late"> {
  const isInTime = (): boolean => clock.monotonicMs() <= sendBeforeMs;
  const noted = await askUntil(
    () => beginSend(scripts, entry.keys, entry.message, { name, keepMs: claimMs }),
    () => isInTime() && !signal.aborted,
  );
  if (noted === undefined) return "late";
  if (!noted.answer) return "ended";
  // The note must outlast the send.
  return isInTime() ? "go" : "late";
}

type MessageEnd = Exclude<DropReason, "unreachable" | "superseded" | "malformed">;

/** @returns undefined if Redis does not answer before the entry must be left to others */
export async function readState(
  { scripts, clock, recordKeepMs }: FallBackOptions,
  { entry, serverNowMs, sendBeforeMs, mayBegin }: HeldEntry,
): Promise<MessageEnd | "wanted" | undefined> {
  const found = await askUntil(
    async () => {
      const { keys, message } = entry;
      const read = (): ReturnType<typeof readMessage> =>
        readMessage(scripts, keys, message.id, serverNowMs());
      const atFirst = await read();
      if (atFirst !== undefined) return atFirst;
      // Nobody has checked for a day and the record is gone; if the message is still open, this restores the record.
      await keepRecords(scripts, keys, [{ userId: message.userId, minAgeMs: 0 }], recordKeepMs);
      return read();
    },
    () => mayBegin() && clock.monotonicMs() <= sendBeforeMs,
  );
  if (found === undefined) return undefined;
  if (found.answer === undefined) return "forgotten";
  const { state, record, isOfUser } = found.answer;
  // Its user was erased; the record may belong to a later message with the same id.
  const { seq, epoch } = entry.message;
  const isIts = record.seq === seq && lineageOf(record.epoch) === lineageOf(epoch);
  if (!isOfUser || !isIts) return "forgotten";
  if (state === "queued") return "wanted";
  // `always` asks for both: an acknowledgement does not replace the push; an end or the expiry does.
  const { fallback, expiresAtMs } = entry.message;
  const isBoth = fallback === "always" && record.end === undefined && expiresAtMs > serverNowMs();
  return state === "delivered" && isBoth ? "wanted" : state;
}
