// collect/explain-message -> here: when a waiting message is tried next, and whether its user's limit holds it back.
// Guarantees: reads only.
import { idOfSchedule } from "../../protocol/messages/scheduled-message.js";
import { RECEIVE_SUB_WINDOWS, RECEIVE_WINDOW_MS } from "../accept/accept-batch.js";
import { readServerTimeMs } from "../connection/server-time.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface PutOff {
  /** By Redis' clock. */
  readonly nowMs: number;
  /** Its time, or later if it was deferred; undefined if it no longer waits. */
  readonly nextTryMs: number | undefined;
  /** Messages that its user got in the last window of the receive limit. */
  readonly receivedLately: number;
}

/** Members per step of a scan of a recipient's schedules. */
const SCAN_COUNT = 1_000;

export async function readPutOff(
  { redis }: ScriptRunner,
  keys: PartitionKeys,
  { id, recipient }: { readonly id: string; readonly recipient: string },
): Promise<PutOff> {
  const [nowMs, [seq, received]] = await Promise.all([
    readServerTimeMs(redis, keys.scheduled),
    redis.hmget(keys.user(recipient), "seq", "received"),
  ]);
  const receivedLately = readReceived(received ?? "", Number(seq ?? 0), nowMs);
  let cursor = "0";
  do {
    const found = await redis.zscan(
      keys.schedulesOf(recipient),
      cursor,
      "MATCH",
      `*${id}`,
      "COUNT",
      SCAN_COUNT,
    );
    for (const [i, member] of found[1].entries()) {
      if (i % 2 === 1 || idOfSchedule(member) !== id) continue;
      const at = await redis.zscore(keys.scheduled, `${member}\t${recipient}`);
      if (at !== null) return { nowMs, nextTryMs: Number(at), receivedLately };
    }
    [cursor] = found;
  } while (cursor !== "0");
  return { nowMs, nextTryMs: undefined, receivedLately };
}

/** @param notes as scripts/includes/messages/received-lately writes them */
function readReceived(notes: string, seq: number, nowMs: number): number {
  const current = Math.floor((nowMs * RECEIVE_SUB_WINDOWS) / RECEIVE_WINDOW_MS);
  for (const [, index, before] of notes.matchAll(/ (\d+):(\d+)/g)) {
    if (Number(index) >= current - RECEIVE_SUB_WINDOWS) return seq - Number(before);
  }
  return 0;
}
