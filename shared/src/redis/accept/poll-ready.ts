// accept/accept.lua -> here -> dispatch/read-ready: as ready-stream, for partitions that lie on several servers.
// Guarantees: a master that is slow or away delays its own partitions only; one read of a partition at a time.
import { pause } from "../../kernel/pause.js";
import type { Redis } from "../connection/connect.js";
import type { PartitionKeys } from "../keys.js";
import { decodeStreams, type ReadReadyOptions, type ReadyEntry } from "./ready-stream.js";

export interface PollReadyOptions extends ReadReadyOptions {
  /** Ends the wait where `interruptRead` has nothing to interrupt. */
  readonly signal: AbortSignal;
}

/** How long a partition without entries is left alone, and how long the others wait for its answer. */
const POLL_EVERY_MS = 20;
/** An older answer that nobody fetched is dropped: others may have handed over its entries since. */
const ANSWER_KEPT_MS = 1_000;

type Streams = Parameters<typeof decodeStreams>[0];

interface Read {
  /** Never rejects. */
  readonly done: Promise<void>;
  answer?: { readonly atMs: number } & ({ readonly streams: Streams } | { readonly error: unknown });
}

/**
 * On a cluster the partitions' streams lie in different slots, and one call may read streams of one slot only. A
 * blocking read for each master would need a link for each, and would have to follow every slot that moves. Polling
 * costs little, and a delay of some milliseconds does not matter: `ready` holds only what could not be handed over when
 * it was stored.
 */
export class ReadyPolls {
  readonly #cluster: Pick<Redis, "xread">;
  /** By the key of `ready`: reads that are under way, and answers that came after the others had been taken. */
  readonly #reads = new Map<string, Read>();

  /** @param cluster a connection without a deadline for commands; a link that falls silent ends what waits on it */
  constructor(cluster: Pick<Redis, "xread">) {
    this.#cluster = cluster;
  }

  /**
   * The oldest entries of several partitions; waits for one where there is none.
   * @returns key of `ready` -> entries; without the partitions that have none, or have not answered yet
   * @throws where every partition answered with an error
   */
  async read(
    partitions: readonly PartitionKeys[],
    { maxEntries, blockMs, signal }: PollReadyOptions,
  ): Promise<ReadonlyMap<string, readonly ReadyEntry[]>> {
    const endMs = performance.now() + blockMs;
    for (;;) {
      const roundMs = performance.now() + POLL_EVERY_MS;
      const round = partitions.map(({ ready }) => this.#readOf(ready, maxEntries));
      await settledOr(
        round.map(({ done }) => done),
        POLL_EVERY_MS,
      );
      const found = this.#take(partitions);
      const nowMs = performance.now();
      if (found.size > 0 || nowMs >= endMs || signal.aborted) return found;
      await pause(Math.max(1, Math.min(endMs, roundMs) - nowMs), signal);
    }
  }

  #readOf(ready: string, maxEntries: number): Read {
    const known = this.#reads.get(ready);
    const answer = known?.answer;
    if (known !== undefined && (answer === undefined || performance.now() - answer.atMs < ANSWER_KEPT_MS))
      return known;
    const read: Read = {
      done: this.#cluster.xread("COUNT", maxEntries, "STREAMS", ready, "0-0").then(
        (streams) => void (read.answer = { atMs: performance.now(), streams }),
        (error: unknown) => void (read.answer = { atMs: performance.now(), error }),
      ),
    };
    this.#reads.set(ready, read);
    return read;
  }

  #take(partitions: readonly PartitionKeys[]): ReadonlyMap<string, readonly ReadyEntry[]> {
    const streams: NonNullable<Streams>[number][] = [];
    const errors: unknown[] = [];
    for (const { ready } of partitions) {
      const answer = this.#reads.get(ready)?.answer;
      if (answer === undefined) continue;
      this.#reads.delete(ready);
      if ("error" in answer) errors.push(answer.error);
      else streams.push(...(answer.streams ?? []));
    }
    if (errors.length > 0 && errors.length === partitions.length) throw errors[0];
    return decodeStreams(streams);
  }
}

/** Resolves when all are done, or the time is up. */
async function settledOr(all: readonly Promise<void>[], ms: number): Promise<void> {
  const over = new AbortController();
  await Promise.race([Promise.all(all), pause(ms, over.signal)]);
  over.abort();
}
