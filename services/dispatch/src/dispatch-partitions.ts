// dispatch: the loop of the hand-over: read-ready -> route-messages -> trim, for the partitions owned here.
// Guarantees: one batch of a partition at a time, in order; an entry leaves `ready` only by the fenced trim, after it
// was published; what fails is tried again, with backoff, from the same place.
import { backoffMs } from "@petrel/shared/kernel/backoff";
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging";
import { trimReady } from "@petrel/shared/redis/ready-stream";
import type { ScriptRunner } from "@petrel/shared/redis/script-runner";
import type { DispatchMetrics } from "./dispatch-metrics.js";
import type { HeldPartition } from "./held-partition.js";
import type { PartitionOwner } from "./own-partitions.js";
import { pause } from "./pause.js";
import { MAX_BLOCK_MS, type ReadyBatch, type ReadyReader } from "./read-ready.js";
import { routeMessages } from "./route-messages.js";

export interface DispatcherOptions {
  readonly scripts: ScriptRunner;
  readonly owner: PartitionOwner;
  readonly reader: ReadyReader;
  readonly metrics: Pick<DispatchMetrics, "messages" | "batch">;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Failure {
  readonly attempts: number;
  readonly retryAtMs: number;
}

const BACKOFF = { baseMs: 50, capMs: 2_000 } as const;
const MIN_WAIT_MS = 10;

export class PartitionDispatcher {
  readonly #options: DispatcherOptions;
  readonly #stopping = new AbortController();
  readonly #failures = new WeakMap<HeldPartition, Failure>();
  #wakeUp = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    options.owner.onTaken(() => this.#interrupt());
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Resolves when the batches under way are trimmed. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#interrupt();
    await this.#running;
  }

  #interrupt(): void {
    this.#wakeUp.abort();
    this.#options.reader.interrupt();
  }

  async #run(): Promise<void> {
    const { owner, reader, logger } = this.#options;
    let readFailures = 0;
    while (!this.#stopping.signal.aborted) {
      this.#wakeUp = new AbortController();
      const open = owner.open;
      const due = open.filter((held) => this.#waitOf(held) <= 0);
      const waitMs = Math.min(MAX_BLOCK_MS, ...open.map((held) => this.#waitOf(held)).filter((ms) => ms > 0));
      if (due.length === 0) {
        await pause(Math.max(waitMs, MIN_WAIT_MS), this.#wakeUp.signal);
        continue;
      }
      try {
        const batches = await reader.read(due, waitMs);
        readFailures = 0;
        // All partitions' calls of a round share the connection, and so each other's round trips.
        await Promise.all(batches.map((batch) => this.#handOver(batch)));
      } catch (error) {
        logger.warn({ reason: describeError(error) }, "ready not read");
        await pause(MIN_WAIT_MS + backoffMs(readFailures++, BACKOFF), this.#stopping.signal);
      }
    }
  }

  /** Milliseconds until this partition may be tried again. */
  #waitOf(held: HeldPartition): number {
    const failure = this.#failures.get(held);
    return failure === undefined ? 0 : failure.retryAtMs - this.#options.clock.monotonicMs();
  }

  async #handOver({ held, entries }: ReadyBatch): Promise<void> {
    const { clock, logger } = this.#options;
    try {
      await held.runStep(() => this.#handOverBatch({ held, entries }));
      this.#failures.delete(held);
    } catch (error) {
      const attempts = (this.#failures.get(held)?.attempts ?? 0) + 1;
      const retryAtMs = clock.monotonicMs() + MIN_WAIT_MS + backoffMs(attempts, BACKOFF);
      this.#failures.set(held, { attempts, retryAtMs });
      const { partition } = held.keys;
      logger.warn({ partition, attempts, reason: describeError(error) }, "hand-over failed: trying again");
    }
  }

  async #handOverBatch({ held, entries }: ReadyBatch): Promise<void> {
    const { scripts, owner, metrics } = this.#options;
    const lastId = entries.at(-1)?.id;
    if (lastId === undefined) return;
    const routed = await routeMessages(
      scripts,
      held,
      entries.map(({ message }) => message),
    );
    // What is offline or unheard is offered to the fallback here, between publish and trim. It stays in its inbox,
    // and `due` watches it.
    if (routed === undefined || !held.isHeld) return owner.lose(held, "the lease ended during a hand-over");
    const trimmed = await trimReady(scripts, held.keys, held.token, lastId);
    if (trimmed === "stale") return owner.lose(held, "the trim was refused");
    metrics.batch();
    metrics.messages("handed-over", routed.handedOver.length);
    metrics.messages("offline", routed.offline.length);
    metrics.messages("unheard", routed.unheard.length);
    metrics.messages("expired", routed.expired.length);
  }
}
