// collect/event-routes, collect/event-stream -> here: notifies waiting readers when there is something after their
// position.
// Guarantees: one look for the whole process, however many wait, and none while nobody does. A failed look is repeated;
// nobody waits longer than requested.
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { createRareLog } from "@petrel/shared/kernel/logging/rare-log";
import { pause } from "@petrel/shared/kernel/pause";
import type { EventPosition } from "@petrel/shared/protocol/events/event-position";
import { readPartitionEvents } from "@petrel/shared/redis/events/read-partition-events";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";

export interface EventHeadsOptions {
  readonly scripts: ScriptRunner;
  readonly partitions: readonly PartitionKeys[];
  readonly logger: Logger;
  /** The pause between two looks. */
  readonly intervalMs?: number;
}

const INTERVAL_MS = 100;
const AFTER_FAILURE_MS = 1_000;

interface Waiter {
  readonly positions: readonly EventPosition[];
  readonly wake: () => void;
}

export class EventHeads {
  readonly #options: EventHeadsOptions;
  readonly #waiters = new Set<Waiter>();
  readonly #failures;
  #isRunning = false;

  constructor(options: EventHeadsOptions) {
    this.#options = options;
    this.#failures = createRareLog(options.logger);
  }

  /** The number of waiting readers. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /**
   * Resolves when a partition has something after its position, when the time is up, or when the signal is aborted.
   * @param positions one for each partition, as the last page returned them
   */
  async wait(positions: readonly EventPosition[], ms: number, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const waiter: Waiter = { positions, wake: () => over.abort() };
    this.#waiters.add(waiter);
    if (!this.#isRunning) void this.#run();
    // (Not AbortSignal.any: a stream waits thousands of times on one signal, which would remember each.)
    const end = (): void => over.abort();
    signal.addEventListener("abort", end, { once: true });
    if (signal.aborted) end();
    await pause(ms, over.signal);
    signal.removeEventListener("abort", end);
    this.#waiters.delete(waiter);
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    const { intervalMs = INTERVAL_MS } = this.#options;
    while (this.#waiters.size > 0) {
      const isGood = await this.#look();
      if (this.#waiters.size > 0) await pause(isGood ? intervalMs : AFTER_FAILURE_MS);
    }
    this.#isRunning = false;
  }

  async #look(): Promise<boolean> {
    const { scripts, partitions } = this.#options;
    const heads = await scripts.together(() =>
      Promise.allSettled(partitions.map((keys) => readPartitionEvents(scripts, keys, "now", { limit: 0 }))),
    );
    let isGood = true;
    for (const [partition, head] of heads.entries()) {
      if (head.status === "rejected") {
        isGood = false;
        this.#failures.warn(
          `events of partition ${partition}: no look, trying again: ${describeError(head.reason)}`,
        );
        continue;
      }
      for (const { positions, wake } of this.#waiters) {
        if (!isSame(positions[partition], head.value.next)) wake();
      }
    }
    return isGood;
  }
}

function isSame(one: EventPosition | undefined, other: EventPosition): boolean {
  return one !== undefined && one.mark === other.mark && one.ms === other.ms && one.n === other.n;
}
