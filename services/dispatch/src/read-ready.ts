// scripts/accept -> here -> dispatch/route-messages: what waits to be handed over in the partitions owned here.
// Guarantees: oldest first, at most 200 a partition; a partition taken while it waits is read soon.
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging";
import type { Redis } from "@petrel/shared/redis/connect";
import { interruptRead, readClientId, readReady, type ReadyEntry } from "@petrel/shared/redis/ready-stream";
import type { HeldPartition } from "./held-partition.js";

export interface ReadyBatch {
  readonly held: HeldPartition;
  /** In the order they were stored; never empty. */
  readonly entries: readonly ReadyEntry[];
}

export interface ReadyReaderOptions {
  /** For the reads that wait; nothing else may use it. */
  readonly blocking: Redis;
  readonly commands: Redis;
  readonly logger: Logger;
}

const MAX_ENTRIES = 200;
/** Also how long an interruption that came a moment too early delays the next read. */
export const MAX_BLOCK_MS = 500;

export class ReadyReader {
  readonly #options: ReadyReaderOptions;
  #clientId: number | undefined;

  constructor(options: ReadyReaderOptions) {
    this.#options = options;
    options.blocking.on("close", () => (this.#clientId = undefined));
  }

  /**
   * Waits for entries in any of these partitions.
   * @param blockMs at most; less where that is more than half a second
   * @returns the partitions that have some
   */
  async read(partitions: readonly HeldPartition[], blockMs: number): Promise<ReadyBatch[]> {
    const { blocking } = this.#options;
    this.#clientId ??= await readClientId(blocking);
    const found = await readReady(
      blocking,
      partitions.map(({ keys }) => keys),
      { maxEntries: MAX_ENTRIES, blockMs: Math.min(blockMs, MAX_BLOCK_MS) },
    );
    return partitions.flatMap((held) => {
      const entries = found.get(held.keys.ready) ?? [];
      return entries.length === 0 ? [] : [{ held, entries }];
    });
  }

  /** Ends a read that waits: there are other partitions to read, or nothing more to do. */
  interrupt(): void {
    if (this.#clientId === undefined) return;
    interruptRead(this.#options.commands, this.#clientId).catch((error: unknown) => {
      this.#options.logger.debug({ reason: describeError(error) }, "read not interrupted");
    });
  }
}
