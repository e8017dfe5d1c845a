// dispatch/fall-back -> here -> recall/begin-send.lua: a fallback channel is about to be asked to take a message.
// Guarantees: one step checks that the message has not ended, and notes the send. While the note stands, the message
// can be neither recalled nor collapsed. settle-fallback takes it away; a dead sender's ends by itself.
import type { FallbackEntry } from "../../protocol/fallback/fallback-entry.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface SendNote {
  /** Names this attempt, and no other. */
  readonly name: string;
  /** How long the note stands, at most; longer than a send takes. */
  readonly keepMs: number;
}

/** @returns false where the message has ended, or its time is over: it must not be sent */
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
