// push-node/catch-up, dispatch/expire-users, redis/read-message -> here -> inbox/expire.lua: writes `expired` ends.
// Guarantees: an expired message is skipped only after its end is written; what is acked stays delivered.
import { lineageOf } from "../../protocol/messages/stored-message.js";
import type { PartitionKeys } from "../keys.js";
import { eventKeys } from "../scripts/event-writing.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface ExpiredMessage {
  readonly seq: number;
  /** The number means nothing without it: the user may have been erased and have a new history. */
  readonly epoch: string;
  readonly id: string;
}

/** The next expiry; only a caller that has read all of a user's open messages knows it. */
export interface NextExpiry {
  /** The earliest expiry among the open messages, ms. */
  readonly atMs: number;
  /** The user's seq when the read began; a message stored since then invalidates this. */
  readonly readSeq: number;
  /** The user's epoch then. */
  readonly epoch: string;
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
  const calls = splitIntoCalls(messages);
  const last = calls.at(-1);
  if (
    nextExpiry !== undefined &&
    (last === undefined || lineageOf(last.epoch) !== lineageOf(nextExpiry.epoch))
  ) {
    calls.push({ epoch: nextExpiry.epoch, part: [] });
  }
  let written = 0;
  for (const [i, { epoch, part }] of calls.entries()) {
    // Pass it only with the last call, when every end is written.
    const next = i === calls.length - 1 ? nextExpiry : undefined;
    const answer = await scripts.run(
      "expire.v5",
      [
        keys.user(userId),
        keys.due,
        keys.inbox(userId),
        ...eventKeys(keys),
        ...part.map(({ id }) => keys.record(id)),
      ],
      [
        userId,
        next?.atMs ?? "",
        next?.readSeq ?? 0,
        epoch,
        scripts.events.argument("message.expired"),
        ...part.map(({ seq }) => seq),
      ],
    );
    written += Number(answer);
  }
  scripts.ends.count("expired", written);
  return written;
}

interface ExpireCall {
  readonly epoch: string;
  readonly part: readonly ExpiredMessage[];
}

/** A call concerns one history. If the user was erased meanwhile, the messages may belong to several. */
function splitIntoCalls(messages: readonly ExpiredMessage[]): ExpireCall[] {
  const calls: ExpireCall[] = [];
  for (let start = 0; start < messages.length;) {
    const epoch = messages[start]?.epoch ?? "";
    let end = start + 1;
    while (end < messages.length && end - start < MAX_PER_CALL && isOfHistory(messages[end], epoch)) end++;
    calls.push({ epoch, part: messages.slice(start, end) });
    start = end;
  }
  return calls;
}

function isOfHistory(message: ExpiredMessage | undefined, epoch: string): boolean {
  return message !== undefined && lineageOf(message.epoch) === lineageOf(epoch);
}
