// dispatch/webhooks/deliver-webhooks -> here -> webhooks/count-events.lua: a webhook's backlog, for metrics.
// Guarantees: bounded, however much waits: a thousand events take Redis a millisecond.
import type { EventPosition } from "../../protocol/events/event-position.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

const MAX = 1_000;

export async function countEvents(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  { ms, n }: EventPosition,
): Promise<number> {
  return Number(await scripts.run("count-events.v1", [keys.events], [`${ms}-${n}`, MAX]));
}
