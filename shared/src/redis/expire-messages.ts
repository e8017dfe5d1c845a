// push-node/catch-up, dispatch/expire-users, redis/read-message -> here -> scripts/expire: writes `expired` ends.
// Guarantees: whoever skips a message because its time is over has written its end first; what is acked stays
// delivered.
import type { PartitionKeys } from "./keys.js";
import type { ScriptRunner } from "./script-runner.js";

export interface ExpiredMessage {
  readonly seq: number;
  readonly id: string;
}

/** What a caller that has read all of a user's open messages knows of the next expiry. */
export interface NextExpiry {
  /** The earliest expiry among the open messages, ms. */
  readonly atMs: number;
  /** The user's seq when the reading began; a message stored since then makes this void. */
  readonly readSeq: number;
}

const MAX_PER_CALL = 200;

/**
 * @param messages ascending by seq
 * @returns how many ends were written
 */
export async function expireMessages(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  userId: string,
  messages: readonly ExpiredMessage[],
  nextExpiry?: NextExpiry,
): Promise<number> {
  let written = 0;
  for (let start = 0; start === 0 || start < messages.length; start += MAX_PER_CALL) {
    const part = messages.slice(start, start + MAX_PER_CALL);
    const isLast = start + MAX_PER_CALL >= messages.length;
    const answer = await scripts.run(
      "expire.v1",
      [keys.user(userId), keys.due, ...part.map(({ id }) => keys.record(id))],
      [
        userId,
        isLast && nextExpiry !== undefined ? nextExpiry.atMs : "",
        nextExpiry?.readSeq ?? 0,
        ...part.map(({ seq }) => seq),
      ],
    );
    written += Number(answer);
  }
  scripts.ends.count("expired", written);
  return written;
}
