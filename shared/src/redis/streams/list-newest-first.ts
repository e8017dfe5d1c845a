// redis/devices/invalidations-store, redis/fallback/dead-letters-store -> here -> redis/streams/read-backwards: pages
// through several streams as one list.
// Guarantees: newest first. Across pages, no entry is repeated, and none that stays is missed.
import type { Redis } from "../connection/connect.js";
import { NEWEST, olderThan, readBackwards } from "./read-backwards.js";

/** An entry's place in the merged list: by its id, then by its stream. */
export interface ListPlace {
  readonly entryId: string;
  /** The number of its stream. */
  readonly stream: number;
}

export interface ListedStream<Item> {
  readonly key: string;
  /** Orders entries with the same id. Each stream has its own number. */
  readonly number: number;
  /** @returns undefined for an entry that is not listed */
  readonly decode: (entryId: string, fields: readonly string[]) => Item | undefined;
}

export interface ListOptions {
  /** The last entry of the page before. */
  readonly after: ListPlace | undefined;
  readonly limit: number;
  /** Entries per read of a stream. */
  readonly readAtOnce: number;
}

export interface ListPage<Item> {
  readonly items: readonly Item[];
  /** The last item, if more follow. */
  readonly next: Item | undefined;
}

export async function listNewestFirst<Item>(
  redis: Redis,
  streams: readonly ListedStream<Item>[],
  { after, limit, readAtOnce }: ListOptions,
): Promise<ListPage<Item>> {
  const sources = streams.map((stream) => new Source(redis, stream, after));
  await Promise.all(sources.map((source) => source.fill(readAtOnce)));
  const items: Item[] = [];
  for (;;) {
    let first: Source<Item> | undefined;
    for (const source of sources) {
      if (source.head !== undefined && (first?.head === undefined || isBefore(source.head, first.head))) {
        first = source;
      }
    }
    if (first?.head === undefined) return { items, next: undefined };
    if (items.length === limit) return { items, next: items.at(-1) };
    items.push(first.head.item);
    first.shift();
    await first.fill(readAtOnce);
  }
}

interface Listed<Item> extends ListPlace {
  readonly item: Item;
}

/** One stream, read as far as needed. */
class Source<Item> {
  readonly #redis: Redis;
  readonly #stream: ListedStream<Item>;
  #listed: Listed<Item>[] = [];
  #from: string | undefined;

  constructor(redis: Redis, stream: ListedStream<Item>, after: ListPlace | undefined) {
    this.#redis = redis;
    this.#stream = stream;
    if (after === undefined) this.#from = NEWEST;
    // Among entries with this very id, those of later streams are still to come.
    else this.#from = stream.number > after.stream ? after.entryId : olderThan(after.entryId);
  }

  /** The newest entry that was not taken yet. */
  get head(): Listed<Item> | undefined {
    return this.#listed[0];
  }

  shift(): void {
    this.#listed.shift();
  }

  /** Reads more if everything read so far was taken. */
  async fill(count: number): Promise<void> {
    const { key, number, decode } = this.#stream;
    while (this.#listed.length === 0 && this.#from !== undefined) {
      const { entries, next } = await readBackwards(this.#redis, key, this.#from, count);
      this.#from = next;
      this.#listed = entries.flatMap(([entryId, fields]) => {
        const item = decode(entryId, fields);
        return item === undefined ? [] : [{ entryId, stream: number, item }];
      });
    }
  }
}

function isBefore(a: ListPlace, b: ListPlace): boolean {
  const [aMs = 0, aNumber = 0] = a.entryId.split("-").map(Number);
  const [bMs = 0, bNumber = 0] = b.entryId.split("-").map(Number);
  if (aMs !== bMs) return aMs > bMs;
  if (aNumber !== bNumber) return aNumber > bNumber;
  return a.stream < b.stream;
}
