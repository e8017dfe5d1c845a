// dispatch/routes/dead-letters -> here -> fallback/replay-dead-letter.lua: messages whose fallback failed for good.
// Guarantees: while pages are read, none repeats a letter or misses one that stays. A replay moves its letter in one
// step, and only where the message still waits for it.
import { deadLetterCauses, type DeadLetterCause } from "../../protocol/fallback/dead-letter-causes.js";
import { type DeadLetterPlace, formatDeadLetterId } from "../../protocol/fallback/dead-letter-id.js";
import {
  decodeFallbackEntry,
  FALLBACK_FIELDS,
  type FallbackEntry,
} from "../../protocol/fallback/fallback-entry.js";
import type { Redis } from "../connection/connect.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface DeadLetter extends DeadLetterPlace {
  readonly id: string;
  readonly message: FallbackEntry;
  readonly reason: string;
  readonly attempts: number;
  /** When it failed, ms by Redis' clock. */
  readonly failedAtMs: number;
}

export interface DeadLetterPage {
  /** Newest first. */
  readonly items: readonly DeadLetter[];
  /** Where the next page goes on; undefined after the last one. */
  readonly next: DeadLetterPlace | undefined;
}

/**
 * See fallback/replay-dead-letter.lua. All but the first say what became of the message, and that nothing was changed.
 */
export const replayOutcomes = [
  "replayed",
  "unknown",
  "forgotten",
  "delivered",
  "expired",
  "cancelled",
  "pushed",
  "queued",
] as const;
export type ReplayOutcome = (typeof replayOutcomes)[number];

type RawLetter = [id: string, fields: string[]];

const PURGE_STEP = 500;
const PAGE_OF_STREAM = { least: 10, most: 200 } as const;

export class DeadLettersStore {
  readonly #scripts: ScriptRunner;
  readonly #partitions: readonly PartitionKeys[];

  constructor(scripts: ScriptRunner, partitions: readonly PartitionKeys[]) {
    this.#scripts = scripts;
    this.#partitions = partitions;
  }

  /** How many letters each cause has, in all partitions. */
  async count(): Promise<ReadonlyMap<DeadLetterCause, number>> {
    const counts = await Promise.all(
      deadLetterCauses.map(async (cause) => {
        const lengths = await Promise.all(
          this.#partitions.map((keys) => this.#redis.xlen(keys.deadLetters(cause))),
        );
        return [cause, lengths.reduce((sum, length) => sum + length, 0)] as const;
      }),
    );
    return new Map(counts);
  }

  /**
   * The letters of all partitions, newest failure first.
   * @param cause all causes where it is not given
   * @param after where the last page ended
   */
  async list(
    cause: DeadLetterCause | undefined,
    after: DeadLetterPlace | undefined,
    limit: number,
  ): Promise<DeadLetterPage> {
    const causes = cause === undefined ? deadLetterCauses : [cause];
    const sources = this.#partitions.flatMap((keys) =>
      causes.map((each) => new LetterSource(this.#redis, keys, each, after)),
    );
    // Where all are equally full, one read of each is enough; a fuller one is read on.
    const count = Math.min(
      PAGE_OF_STREAM.most,
      Math.max(PAGE_OF_STREAM.least, Math.ceil((2 * limit) / sources.length)),
    );
    await Promise.all(sources.map((source) => source.fill(count)));
    const items: DeadLetter[] = [];
    for (;;) {
      let first: LetterSource | undefined;
      for (const source of sources) {
        if (source.head !== undefined && (first?.head === undefined || isBefore(source.head, first.head))) {
          first = source;
        }
      }
      if (first?.head === undefined) return { items, next: undefined };
      if (items.length === limit) return { items, next: items.at(-1) };
      items.push(first.head);
      first.shift();
      await first.fill(count);
    }
  }

  async find(place: DeadLetterPlace): Promise<DeadLetter | undefined> {
    const keys = this.#partitions[place.partition];
    if (keys === undefined) return undefined;
    const { cause, entryId } = place;
    const [raw] = (await this.#redis.xrange(keys.deadLetters(cause), entryId, entryId)) as RawLetter[];
    return raw === undefined ? undefined : decodeLetter(keys.partition, cause, raw);
  }

  /** @returns whether it was there; its message stays as it is */
  async remove({ partition, cause, entryId }: DeadLetterPlace): Promise<boolean> {
    const keys = this.#partitions[partition];
    return keys !== undefined && (await this.#redis.xdel(keys.deadLetters(cause), entryId)) === 1;
  }

  /**
   * Removes the present letters, a few hundred at a time; what comes meanwhile stays.
   * @param cause all causes where it is not given
   * @returns how many were removed
   */
  async purge(cause: DeadLetterCause | undefined): Promise<number> {
    let purged = 0;
    for (const keys of this.#partitions) {
      for (const each of cause === undefined ? deadLetterCauses : [cause]) {
        purged += await this.#purgeStream(keys.deadLetters(each));
      }
    }
    return purged;
  }

  async #purgeStream(stream: string): Promise<number> {
    const [last] = await this.#redis.xrevrange(stream, "+", "-", "COUNT", 1);
    if (last === undefined) return 0;
    let purged = 0;
    for (;;) {
      const entries = await this.#redis.xrange(stream, "-", last[0], "COUNT", PURGE_STEP);
      if (entries.length === 0) return purged;
      purged += await this.#redis.xdel(stream, ...entries.map(([id]) => id));
    }
  }

  /** The message is tried again, from its first attempt on. */
  async replay(letter: DeadLetter): Promise<ReplayOutcome> {
    const { partition, cause, entryId, message } = letter;
    const keys = this.#partitions[partition];
    if (keys === undefined) return "unknown";
    const [raw] = (await this.#redis.xrange(keys.deadLetters(cause), entryId, entryId)) as RawLetter[];
    if (raw === undefined) return "unknown";
    const word = await this.#scripts.run(
      "replay-dead-letter.v2",
      [
        keys.deadLetters(cause),
        keys.record(message.id),
        keys.user(message.userId),
        keys.fallback(message.priority),
      ],
      [entryId, fieldOf(raw[1], FALLBACK_FIELDS.entry)],
    );
    const outcome = replayOutcomes.find((known) => known === word);
    if (outcome === undefined) throw new Error(`replay-dead-letter answered ${JSON.stringify(word)}`);
    return outcome;
  }

  get #redis(): Redis {
    return this.#scripts.redis;
  }
}

/** One stream of dead letters, newest first, read as far as is needed. */
class LetterSource {
  readonly #redis: Redis;
  readonly #keys: PartitionKeys;
  readonly #cause: DeadLetterCause;
  readonly #read: DeadLetter[] = [];
  #from: string | undefined;

  constructor(redis: Redis, keys: PartitionKeys, cause: DeadLetterCause, after: DeadLetterPlace | undefined) {
    this.#redis = redis;
    this.#keys = keys;
    this.#cause = cause;
    if (after === undefined) this.#from = "+";
    else {
      // Of those that failed at the very same time, the ones of later sources are still to come.
      const isLater = comparePlaces({ partition: keys.partition, cause }, after) > 0;
      this.#from = isLater ? after.entryId : `(${after.entryId}`;
    }
  }

  /** The newest letter that was not taken yet. */
  get head(): DeadLetter | undefined {
    return this.#read[0];
  }

  shift(): void {
    this.#read.shift();
  }

  /** Reads on where everything read was taken. */
  async fill(count: number): Promise<void> {
    if (this.#read.length > 0 || this.#from === undefined) return;
    const stream = this.#keys.deadLetters(this.#cause);
    const raw = (await this.#redis.xrevrange(stream, this.#from, "-", "COUNT", count)) as RawLetter[];
    const last = raw.at(-1);
    this.#from = raw.length < count || last === undefined ? undefined : `(${last[0]}`;
    this.#read.push(...raw.map((one) => decodeLetter(this.#keys.partition, this.#cause, one)));
  }
}

function isBefore(a: DeadLetter, b: DeadLetter): boolean {
  const [aMs = 0, aNumber = 0] = a.entryId.split("-").map(Number);
  const [bMs = 0, bNumber = 0] = b.entryId.split("-").map(Number);
  if (aMs !== bMs) return aMs > bMs;
  if (aNumber !== bNumber) return aNumber > bNumber;
  return comparePlaces(a, b) < 0;
}

type StreamPlace = Pick<DeadLetterPlace, "partition" | "cause">;

function comparePlaces(a: StreamPlace, b: StreamPlace): number {
  return a.partition - b.partition || deadLetterCauses.indexOf(a.cause) - deadLetterCauses.indexOf(b.cause);
}

function decodeLetter(partition: number, cause: DeadLetterCause, [entryId, fields]: RawLetter): DeadLetter {
  return {
    id: formatDeadLetterId({ partition, cause, entryId }),
    partition,
    cause,
    entryId,
    message: decodeFallbackEntry(fieldOf(fields, FALLBACK_FIELDS.entry)),
    attempts: Number(fieldOf(fields, FALLBACK_FIELDS.attempts)),
    reason: fieldOf(fields, "r"),
    failedAtMs: Number.parseInt(entryId, 10),
  };
}

function fieldOf(fields: readonly string[], name: string): string {
  const index = fields.findIndex((field, i) => i % 2 === 0 && field === name);
  return index === -1 ? "" : (fields[index + 1] ?? "");
}
