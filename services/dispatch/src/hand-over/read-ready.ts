// accept/accept.lua -> here -> dispatch-partitions: what waits to be handed over in the partitions owned here.
// Guarantees: oldest first, at most 200 per partition, and fewer if messages are large. A partition that is taken over
// during a blocking read is read soon. On a cluster, a slow or absent master delays only its own partitions.
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { pause } from "@petrel/shared/kernel/pause";
import { isCluster } from "@petrel/shared/redis/connection/cluster-nodes";
import type { Redis } from "@petrel/shared/redis/connection/connect";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { ReadyPolls } from "@petrel/shared/redis/accept/poll-ready";
import {
  interruptRead,
  readClientId,
  readReady,
  type ReadReadyOptions,
  type ReadyEntry,
} from "@petrel/shared/redis/accept/ready-stream";
import type { HeldPartition } from "../own/held-partition.js";

export interface ReadyBatch {
  readonly held: HeldPartition;
  /** In stored order; never empty. */
  readonly entries: readonly ReadyEntry[];
}

export interface ReadyReaderOptions {
  /** For blocking reads; nothing else may use it. */
  readonly blocking: Redis;
  readonly commands: Redis;
  readonly logger: Logger;
}

const MAX_ENTRIES = 200;
/**
 * Target size of a partition's batch, in UTF-16 code units. Redis only counts entries, so the last read tells how large
 * they are.
 */
const AIM_SIZE = 1024 * 1024;
const LEAST_ENTRIES = 8;
export const MAX_BLOCK_MS = 2_000;
/** An interruption on another link may overtake the read that it should interrupt, so it is repeated. */
const INTERRUPT_AGAIN_MS = 20;

export class ReadyReader {
  readonly #options: ReadyReaderOptions;
  readonly #polls: ReadyPolls | undefined;
  #clientId: number | undefined;
  #maxEntries = MAX_ENTRIES;
  #reads = 0;
  #interrupts = 0;
  #isReading = false;
  #waiting = new AbortController();

  constructor(options: ReadyReaderOptions) {
    this.#options = options;
    this.#polls = isCluster(options.blocking) ? new ReadyPolls(options.blocking) : undefined;
    options.blocking.on("close", () => (this.#clientId = undefined));
  }

  /**
   * Waits for entries in any of these partitions.
   * @param blockMs the longest wait; capped at two seconds
   * @returns the partitions that have some
   */
  async read(partitions: readonly HeldPartition[], blockMs: number): Promise<ReadyBatch[]> {
    const { blocking } = this.#options;
    const all = partitions.map(({ keys }) => keys);
    const options = { maxEntries: this.#maxEntries, blockMs: Math.min(blockMs, MAX_BLOCK_MS) };
    let found: ReadonlyMap<string, readonly ReadyEntry[]>;
    if (this.#polls === undefined) {
      const interrupts = this.#interrupts;
      this.#clientId ??= await readClientId(blocking);
      if (interrupts !== this.#interrupts) return [];
      found = await this.#block(all, options);
    } else {
      this.#waiting = new AbortController();
      found = await this.#polls.read(all, { ...options, signal: this.#waiting.signal });
    }
    this.#learnSizes(found);
    return partitions.flatMap((held) => {
      const entries = found.get(held.keys.ready) ?? [];
      return entries.length === 0 ? [] : [{ held, entries }];
    });
  }

  /** Ends a waiting read: there are other partitions to read, or the process stops. */
  interrupt(): void {
    this.#interrupts++;
    this.#waiting.abort();
    if (this.#isReading) void this.#interruptRead(this.#reads);
  }

  async #block(
    partitions: readonly PartitionKeys[],
    options: ReadReadyOptions,
  ): Promise<ReadonlyMap<string, readonly ReadyEntry[]>> {
    this.#reads++;
    this.#isReading = true;
    try {
      return await readReady(this.#options.blocking, partitions, options);
    } finally {
      this.#isReading = false;
    }
  }

  async #interruptRead(read: number): Promise<void> {
    const { commands, logger } = this.#options;
    while (this.#isReading && this.#reads === read && this.#clientId !== undefined) {
      try {
        await interruptRead(commands, this.#clientId);
      } catch (error) {
        logger.debug({ reason: describeError(error) }, "read not interrupted");
      }
      await pause(INTERRUPT_AGAIN_MS);
    }
  }

  /** Sizes the next batches by these messages' mean size. */
  #learnSizes(found: ReadonlyMap<string, readonly ReadyEntry[]>): void {
    let entries = 0;
    let size = 0;
    for (const batch of found.values()) {
      entries += batch.length;
      for (const entry of batch) size += entry.size;
    }
    if (entries === 0) return;
    const fitting = Math.floor((AIM_SIZE * entries) / Math.max(size, 1));
    this.#maxEntries = Math.min(MAX_ENTRIES, Math.max(LEAST_ENTRIES, fitting));
  }
}
