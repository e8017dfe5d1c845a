// fallback-workers -> here: which waiting entries get the free slots, by priority.
// Guarantees: while all are waiting, high, normal and low get 4, 2 and 1 of seven. A slot that one cannot use goes to
// the others. Partitions take turns.
import { priorities, type Priority } from "@petrel/shared/protocol/messages/stored-message";
import type { FallbackSource } from "@petrel/shared/redis/fallback/fallback-queue";
import type { PartitionKeys } from "@petrel/shared/redis/keys";

const weights: Readonly<Record<Priority, number>> = { high: 4, normal: 2, low: 1 };

/** What is known to wait in a partition. */
export interface PartitionBacklog {
  readonly keys: PartitionKeys;
  readonly waiting: Readonly<Record<Priority, number>>;
}

export interface Allotment extends FallbackSource {
  readonly count: number;
}

/** Smooth weighted round robin: over any seven slots in a row the shares are exact. */
export class FallbackShares {
  readonly #credit: Record<Priority, number> = { high: 0, normal: 0, low: 0 };
  #turn = 0;

  /** @returns at most `slots` entries, and no more of each kind than are waiting */
  allot(backlog: readonly PartitionBacklog[], slots: number): Allotment[] {
    const counts = backlog.map(() => ({ high: 0, normal: 0, low: 0 }));
    for (let slot = 0; slot < slots; slot++) {
      const open = priorities.filter((priority) =>
        backlog.some(({ waiting }, i) => waiting[priority] > (counts[i]?.[priority] ?? 0)),
      );
      const chosen = this.#choose(open);
      if (chosen === undefined) break;
      for (let step = 0; step < backlog.length; step++) {
        const i = this.#turn++ % backlog.length;
        const [partition, count] = [backlog[i], counts[i]];
        if (partition === undefined || count === undefined) continue;
        if (partition.waiting[chosen] <= count[chosen]) continue;
        count[chosen]++;
        break;
      }
    }
    return backlog.flatMap(({ keys }, i) =>
      priorities.flatMap((priority) => {
        const count = counts[i]?.[priority] ?? 0;
        return count === 0 ? [] : { keys, priority, count };
      }),
    );
  }

  #choose(open: readonly Priority[]): Priority | undefined {
    let chosen: Priority | undefined;
    let sum = 0;
    for (const priority of open) {
      this.#credit[priority] += weights[priority];
      sum += weights[priority];
      if (chosen === undefined || this.#credit[priority] > this.#credit[chosen]) chosen = priority;
    }
    // A priority saves up no credit while nothing of it waits.
    for (const priority of priorities) if (!open.includes(priority)) this.#credit[priority] = 0;
    if (chosen !== undefined) this.#credit[chosen] -= sum;
    return chosen;
  }
}
