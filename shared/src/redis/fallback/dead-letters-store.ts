// dispatch/routes/dead-letters -> here -> streams/list-newest-first, fallback/replay-dead-letter.lua: messages that
// failed for good.
// Guarantees: across pages, no letter is repeated, and none that stays is missed. A replay moves its letter in one
// step, and only if the message still waits for it.
import { deadLetterCauses, type DeadLetterCause } from "../../protocol/fallback/dead-letter-causes.js";
import { type DeadLetterPlace, formatDeadLetterId } from "../../protocol/fallback/dead-letter-id.js";
import {
  decodeFallbackEntry,
  FALLBACK_FIELDS,
  type FallbackEntry,
} from "../../protocol/fallback/fallback-entry.js";
import type { Redis } from "../connection/connect.js";
import type { PartitionKeys } from "../keys.js";
import { replaySchedule } from "../schedules/replay-schedule.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import { listNewestFirst } from "../streams/list-newest-first.js";
import { fieldOf, type RawEntry } from "../streams/stream-entry.js";

export interface DeadLetter extends DeadLetterPlace {
  readonly id: string;
  readonly message: FallbackEntry;
  readonly reason: string;
  readonly attempts: number;
  /** When it failed, ms by Redis's clock. */
  readonly failedAtMs: number;
}

export interface DeadLetterPage {
  /** Newest first. */
  readonly items: readonly DeadLetter[];
  /** Where the next page begins; undefined after the last one. */
  readonly next: DeadLetterPlace | undefined;
}

/** See fallback/replay-dead-letter.lua. All but the first say what became of the message; nothing was changed then. */
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

const PURGE_STEP = 500;
const PAGE_OF_STREAM = { least: 10, most: 200 } as const;

export class DeadLettersStore {
  readonly #scripts: ScriptRunner;
  readonly #partitions: readonly PartitionKeys[];

  constructor(scripts: ScriptRunner, partitions: readonly PartitionKeys[]) {
    this.#scripts = scripts;
    this.#partitions = partitions;
  }

  /** The number of letters of each cause, over all partitions. */
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
   * @param cause all causes if absent
   * @param after where the last page ended
   */
  async list(
    cause: DeadLetterCause | undefined,
    after: DeadLetterPlace | undefined,
    limit: number,
  ): Promise<DeadLetterPage> {
    const causes = cause === undefined ? deadLetterCauses : [cause];
    const streams = this.#partitions.flatMap((keys) =>
      causes.map((each) => ({
        key: keys.deadLetters(each),
        number: streamNumber(keys.partition, each),
        decode: (entryId: string, fields: readonly string[]) =>
          decodeLetter(keys.partition, each, [entryId, fields]),
      })),
    );
    return listNewestFirst<DeadLetter>(this.#redis, streams, {
      after:
        after === undefined
          ? undefined
          : { entryId: after.entryId, stream: streamNumber(after.partition, after.cause) },
      limit,
      // If all are equally full, one read of each is enough; a fuller one is read again.
      readAtOnce: Math.min(
        PAGE_OF_STREAM.most,
        Math.max(PAGE_OF_STREAM.least, Math.ceil((2 * limit) / streams.length)),
      ),
    });
  }

  async find(place: DeadLetterPlace): Promise<DeadLetter | undefined> {
    const keys = this.#partitions[place.partition];
    if (keys === undefined) return undefined;
    const { cause, entryId } = place;
    const [raw] = (await this.#redis.xrange(keys.deadLetters(cause), entryId, entryId)) as RawEntry[];
    return raw === undefined ? undefined : decodeLetter(keys.partition, cause, raw);
  }

  /** @returns whether it existed; its message stays as it is */
  async remove({ partition, cause, entryId }: DeadLetterPlace): Promise<boolean> {
    const keys = this.#partitions[partition];
    return keys !== undefined && (await this.#redis.xdel(keys.deadLetters(cause), entryId)) === 1;
  }

  /**
   * Removes the present letters, a few hundred at a time; what arrives meanwhile stays.
   * @param cause all causes if absent
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

  /** Retries the message, starting with its first attempt; if the inbox was full, it becomes due anew. */
  async replay(letter: DeadLetter): Promise<ReplayOutcome> {
    const { partition, cause, entryId, message } = letter;
    const keys = this.#partitions[partition];
    if (keys === undefined) return "unknown";
    const [raw] = (await this.#redis.xrange(keys.deadLetters(cause), entryId, entryId)) as RawEntry[];
    if (raw === undefined) return "unknown";
    const text = fieldOf(raw[1], FALLBACK_FIELDS.entry);
    const { id, userId, priority } = message;
    const word = await (cause === "inbox-full"
      ? replaySchedule(this.#scripts, keys, { entryId, text, id, userId, priority })
      : this.#scripts.run(
          "replay-dead-letter.v2",
          [keys.deadLetters(cause), keys.record(id), keys.user(userId), keys.fallback(priority)],
          [entryId, text],
        ));
    const outcome = replayOutcomes.find((known) => known === word);
    if (outcome === undefined) throw new Error(`replay-dead-letter answered ${JSON.stringify(word)}`);
    return outcome;
  }

  get #redis(): Redis {
    return this.#scripts.redis;
  }
}

/** By partition, then by cause. */
function streamNumber(partition: number, cause: DeadLetterCause): number {
  return partition * deadLetterCauses.length + deadLetterCauses.indexOf(cause);
}

function decodeLetter(partition: number, cause: DeadLetterCause, [entryId, fields]: RawEntry): DeadLetter {
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
