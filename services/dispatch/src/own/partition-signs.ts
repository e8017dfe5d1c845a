// partitions/look.lua -> here -> wake/wake-users, presence/remove-gone-nodes, schedule/promote-due: whether there is
// anything to do in a partition, asked once for all who ask in the same turn of the event loop.
// Guarantees: an answer is no older than the question.
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { lookAtPartition, type PartitionLook } from "@petrel/shared/redis/partitions/look-at-partition";
import type { HeldPartition } from "./held-partition.js";

export class PartitionSigns {
  readonly #scripts: ScriptRunner;
  /** What this turn has asked. */
  readonly #asked = new Map<HeldPartition, Promise<PartitionLook | "stale">>();

  constructor(scripts: ScriptRunner) {
    this.#scripts = scripts;
  }

  /** @returns "stale" if another owns the partition by now */
  read(held: HeldPartition): Promise<PartitionLook | "stale"> {
    const asked = this.#asked.get(held);
    if (asked !== undefined) return asked;
    // The answer comes in a later turn.
    if (this.#asked.size === 0) setImmediate(() => this.#asked.clear());
    const answer = lookAtPartition(this.#scripts, held.keys, held.token);
    this.#asked.set(held, answer);
    return answer;
  }
}
