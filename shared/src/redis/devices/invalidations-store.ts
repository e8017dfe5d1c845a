// dispatch/routes/list-invalidations -> here: what devices/invalidate-devices.lua noted.
// Guarantees: newest first over all partitions; while pages are read, none repeats a note or misses one that stays.
import { STREAM_POSITION_PATTERN } from "../../kernel/http/page-query.js";
import type { ApnsEnvironment } from "../../protocol/fallback/device.js";
import type {
  InvalidationOutcome,
  InvalidationReason,
} from "../../protocol/fallback/invalidation-reasons.js";
import type { Redis } from "../connection/connect.js";
import type { PartitionKeys } from "../keys.js";

export interface NotedInvalidation {
  /** Opaque; names the note, and marks where a page ended. */
  readonly id: string;
  /** When it was noted, ms by Redis' clock. */
  readonly atMs: number;
  readonly outcome: InvalidationOutcome;
  readonly reason: InvalidationReason;
  readonly userId: string;
  readonly deviceId: string;
  /** The last six characters of the token, or of the openid. */
  readonly tokenEnd: string;
  /** A bundle id, or an appid. */
  readonly topic: string;
  /** For an iOS device. */
  readonly environment: ApnsEnvironment | undefined;
  readonly providerTimestampMs: number | undefined;
  readonly registeredAtMs: number;
}

export interface InvalidationPage {
  readonly items: readonly NotedInvalidation[];
  /** The id after which to go on; undefined after the last page. */
  readonly nextAfter: string | undefined;
}

export const INVALIDATION_ID_PATTERN = `^p\\d{1,5}_${STREAM_POSITION_PATTERN}$`;

const idExpression = /^p(\d{1,5})_(\d{1,15})-(\d{1,10})$/;
const READ_AT_ONCE = { least: 20, most: 500 } as const;

/** A note's place among all: by time, then by the number within the millisecond, then by partition. */
interface Place {
  readonly partition: number;
  readonly ms: number;
  readonly number: number;
}

export class InvalidationsStore {
  readonly #redis: Redis;
  readonly #partitions: readonly PartitionKeys[];

  constructor(redis: Redis, partitions: readonly PartitionKeys[]) {
    this.#redis = redis;
    this.#partitions = partitions;
  }

  /**
   * @param reason all reasons where it is not given
   * @param after the id at the end of the last page
   */
  async list(
    reason: InvalidationReason | undefined,
    after: string | undefined,
    limit: number,
  ): Promise<InvalidationPage> {
    const place = after === undefined ? undefined : placeOf(after);
    const count = Math.min(READ_AT_ONCE.most, Math.max(READ_AT_ONCE.least, limit + 1));
    const sources = this.#partitions.map((keys) => new NoteSource(this.#redis, keys, reason, place));
    await Promise.all(sources.map((source) => source.fill(count)));
    const items: NotedInvalidation[] = [];
    for (;;) {
      const heads = sources.filter((source) => source.head !== undefined);
      const first = heads.sort((a, b) => compare(placeOfNote(a.head), placeOfNote(b.head)))[0];
      if (first?.head === undefined) return { items, nextAfter: undefined };
      if (items.length === limit) return { items, nextAfter: items.at(-1)?.id };
      items.push(first.head);
      first.shift();
      await first.fill(count);
    }
  }
}

/** One partition's notes, newest first, read as far as is needed. */
class NoteSource {
  readonly #redis: Redis;
  readonly #keys: PartitionKeys;
  readonly #reason: InvalidationReason | undefined;
  #notes: NotedInvalidation[] = [];
  #from: string | undefined = "+";

  constructor(
    redis: Redis,
    keys: PartitionKeys,
    reason: InvalidationReason | undefined,
    after: Place | undefined,
  ) {
    this.#redis = redis;
    this.#keys = keys;
    this.#reason = reason;
    if (after === undefined) return;
    // Of the same moment, those of later partitions are still to come.
    const isLater = keys.partition > after.partition;
    this.#from = `${isLater ? "" : "("}${after.ms}-${after.number}`;
  }

  /** The newest note that was not taken yet. */
  get head(): NotedInvalidation | undefined {
    return this.#notes[0];
  }

  shift(): void {
    this.#notes.shift();
  }

  /** Reads on where everything read was taken. */
  async fill(count: number): Promise<void> {
    while (this.#notes.length === 0 && this.#from !== undefined) {
      const raw = (await this.#redis.xrevrange(
        this.#keys.invalidations,
        this.#from,
        "-",
        "COUNT",
        count,
      )) as [string, string[]][];
      const last = raw.at(-1)?.[0];
      this.#from = raw.length < count || last === undefined ? undefined : `(${last}`;
      this.#notes = raw
        .map(([entryId, fields]) => decodeNote(this.#keys.partition, entryId, fields))
        .filter((note) => this.#reason === undefined || note.reason === this.#reason);
    }
  }
}

/** Newest first. */
function compare(a: Place, b: Place): number {
  return b.ms - a.ms || b.number - a.number || a.partition - b.partition;
}

function placeOfNote(note: NotedInvalidation | undefined): Place {
  return placeOf(note?.id ?? "");
}

function placeOf(id: string): Place {
  const [, partition, ms, number] = idExpression.exec(id) ?? [];
  return { partition: Number(partition ?? 0), ms: Number(ms ?? 0), number: Number(number ?? 0) };
}

function decodeNote(partition: number, entryId: string, fields: readonly string[]): NotedInvalidation {
  const read = (name: string): string => {
    const index = fields.findIndex((field, i) => i % 2 === 0 && field === name);
    return index === -1 ? "" : (fields[index + 1] ?? "");
  };
  const [environment, providerTimestamp] = [read("v"), read("p")];
  return {
    id: `p${partition}_${entryId}`,
    atMs: Number.parseInt(entryId, 10),
    outcome: read("w") as InvalidationOutcome,
    reason: read("r") as InvalidationReason,
    userId: read("u"),
    deviceId: read("d"),
    tokenEnd: read("e"),
    topic: read("t"),
    environment: environment === "" ? undefined : (environment as ApnsEnvironment),
    providerTimestampMs: providerTimestamp === "" ? undefined : Number(providerTimestamp),
    registeredAtMs: Number(read("g")),
  };
}
