// dispatch/look-before-sending -> here -> recall/begin-send.lua: a fallback channel is about to be asked to take a
// message.
// Guarantees: one step checks that the message has not ended and notes the send. While the note stands, the message can
// be neither recalled nor collapsed. settle-fallback removes the note; a dead sender's expires.
import type { FallbackEntry } from "../../protocol/fallback/fallback-entry.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface SendNote {
  /** Uniquely identifies this attempt. */
  readonly name: string;
  /** The longest that the note may stand; longer than a send takes. */
  readonly keepMs: number;
}

/** @returns false if the message has ended or expired; then it must not be sent */
export async function beginSend(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  { id, userId, seq, epoch, fallback }: FallbackEntry,
  { name, keepMs }: SendNote,
): Promise<boolean> {
  const answer = await scripts.run(
    "begin-send.v1",
    [keys.record(id), keys.user(userId), keys.sending(id)],
    [seq, epoch, name, Math.ceil(keepMs), fallback === "always" ? "1" : ""],
  );
  return answer === "1";
}
