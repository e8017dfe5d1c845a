// accept/accept.lua -> here -> dispatch/read-ready: like ready-stream, for partitions on several servers.
// Guarantees: a slow or absent master delays only its own partitions. One read per partition at a time.
import { pause, settledOr } from "../../kernel/pause.js";
import type { Redis } from "../connection/connect.js";
import type { PartitionKeys } from "../keys.js";
import { decodeStreams, type ReadReadyOptions, type ReadyEntry } from "./ready-stream.js";

export interface PollReadyOptions extends ReadReadyOptions {
  /** Ends the wait if `interruptRead` has nothing to interrupt. */
  readonly signal: AbortSignal;
}

/** How long an empty partition is left alone, and how long the others wait for a slow one. */
const POLL_EVERY_MS = 20;
/** An older answer that nobody fetched is dropped: its entries may have been handed over since. */
const ANSWER_KEPT_MS = 1_000;

type Streams = Parameters<typeof decodeStreams>[0];

interface Read {
  /** Never rejects. */
  readonly done: Promise<void>;
  answer?: { readonly atMs: number } & ({ readonly streams: Streams } | { readonly error: unknown });
}

/**
 * On a cluster the partitions' streams lie in different slots, and one call may read only one slot. A blocking read for
 * each master would need a link each and would have to follow every slot that moves. Polling costs little, and a few
 * milliseconds do not matter: `ready` holds only what could not be handed over when it was stored.
 */
export class ReadyPolls {
  readonly #cluster: Pick<Redis, "xread">;
  /** By the key of `ready`: reads in progress, and late answers that were not fetched yet. */
  readonly #reads = new Map<string, Read>();

  /** @param cluster a connection without a deadline for commands; if a link falls silent, the calls on it fail */
  constructor(cluster: Pick<Redis, "xread">) {
    this.#cluster = cluster;
  }

  /**
   * The oldest entries of several partitions; waits for one if there are none.
   * @returns key of `ready` -> entries; without partitions that are empty or have not answered yet
   * @throws if every partition answered with an error
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
