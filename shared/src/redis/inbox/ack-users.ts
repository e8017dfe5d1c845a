// push-node/collect-acks -> here -> inbox/ack.lua: moves users' `acked` forward.
// Guarantees: never back, never beyond the last number assigned, never in another epoch; see the script.
import { DEFAULT_SLOW_HISTORY } from "./hold-history.js";
import type { PartitionKeys } from "../keys.js";
import { eventKeys } from "../scripts/event-writing.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface UserAck {
  readonly userId: string;
  readonly epoch: string;
  /** Inclusive. */
  readonly seq: number;
}

/**
 * A user who acknowledges again within this time stays in `due`: one look per ack timeout is cheaper than an insertion
 * and a removal per message.
 */
const MOMENT_MS = 1_000;

/**
 * @param acks at most 200, of one partition
 * @param history acked messages that stay readable for a user's other devices
 * @param slowHistory the most acked messages that stay for a device that is behind
 * @param momentMs a user who acknowledged something this recently stays in `due`, for the wake to look at
 * @returns for each, in order, the user's `acked` now, or undefined if the epoch is not the user's
 */
export async function ackUsers(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  acks: readonly UserAck[],
  history: number,
  slowHistory = DEFAULT_SLOW_HISTORY,
  momentMs = MOMENT_MS,
): Promise<(number | undefined)[]> {
  const events = scripts.events.argument("message.delivered");
  const answer = await scripts.run(
    "ack.v4",
    [
      keys.due,
      ...acks.flatMap(({ userId }) => [keys.user(userId), keys.inbox(userId)]),
      ...(events === "" ? [] : eventKeys(keys)),
    ],
    [
      history,
      slowHistory,
      momentMs,
      ...acks.flatMap(({ epoch, seq }) => [epoch, seq]),
      ...(events === "" ? [] : [events]),
    ],
  );
  let moved = 0;
  const unfinished: number[] = [];
  const results = answer.split("\n").map((line, i) => {
    if (line === "-") return undefined;
    const tab = line.indexOf("\t");
    if (tab === -1) return Number(line);
    const isCut = line.endsWith("+");
    if (isCut) unfinished.push(i);
    moved += Number(isCut ? line.slice(tab + 1, -1) : line.slice(tab + 1));
    return Number(line.slice(0, tab));
  });
  scripts.ends.count("delivered", moved);
  if (unfinished.length === 0) return results;
  // Each call writes a bounded number of events, and an acknowledgement reaches only as far as its events.
  const rest = unfinished.flatMap((i) => acks[i] ?? []);
  const further = await ackUsers(scripts, keys, rest, history, slowHistory, momentMs);
  for (const [n, i] of unfinished.entries()) results[i] = further[n];
  return results;
}
