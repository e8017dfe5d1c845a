// push-node/hold-absence -> here -> partitions/hold-absence.lua: tells that users of a partition are still
// reconnecting.
// Guarantees: only after a change of generation, and for a bounded time from then.
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/** However many clients are still connecting, nobody's fallback waits for them longer than this. */
export const HOLD_AT_MOST_MS = 300_000;

/** @returns whether it is held, that is, the bound is not reached */
export async function holdAbsence(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  atMostMs = HOLD_AT_MOST_MS,
): Promise<boolean> {
  return (await scripts.run("hold-absence.v1", [keys.generation], [atMostMs])) === "1";
}
