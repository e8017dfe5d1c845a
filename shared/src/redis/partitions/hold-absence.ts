// push-node/hold-absence -> here -> partitions/hold-absence.lua: users of a partition are still on their way.
// Guarantees: only after a change of generation, and for a bounded time from there.
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/** However many there are, and whoever knocks at the nodes' doors: longer than this nobody's fallback waits for them. */
export const HOLD_AT_MOST_MS = 300_000;

/** @returns whether it is held: the time is not over */
export async function holdAbsence(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  atMostMs = HOLD_AT_MOST_MS,
): Promise<boolean> {
  return (await scripts.run("hold-absence.v1", [keys.generation], [atMostMs])) === "1";
}
