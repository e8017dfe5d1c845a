// collect/archive -> here -> dispatch/archive: what the message archive could not be told while it was down.
// Guarantees: in order for each message. Bounded: what exceeds the bound is refused, and the caller counts it. An entry
// is removed when the archive has it.
import type { Redis } from "../connection/connect.js";
import type { PartitionKeys } from "../keys.js";

/** `write` before a message is accepted; then `replace` or `refuse`, if the archive must know. */
export type SpoolKind = "write" | "replace" | "refuse";

/** A spooled row: it concerns one recipient and can be expressed as JSON. */
export interface SpoolRow {
  readonly recipient: string;
  /** The user whose client published it. */
  readonly from?: string | undefined;
}

export interface SpoolEntry<Row extends SpoolRow> {
  readonly kind: SpoolKind;
  readonly row: Row;
}

export interface SpooledEntry<Row extends SpoolRow> extends SpoolEntry<Row> {
  /** Its id in the stream. */
  readonly entryId: string;
}

export interface ArchiveSpoolOptions {
  readonly redis: Redis;
  readonly partitions: readonly PartitionKeys[];
  /** The most entries per partition. */
  readonly cap: number;
}

const ERASE_PAGE = 200;

export class ArchiveSpool<Row extends SpoolRow> {
  readonly #options: ArchiveSpoolOptions;

  constructor(options: ArchiveSpoolOptions) {
    this.#options = options;
  }

  /**
   * @param entries of one partition
   * @returns how many of them were kept; always the first ones
   */
  async add(partition: number, entries: readonly SpoolEntry<Row>[]): Promise<number> {
    const { redis, cap } = this.#options;
    const key = this.#keyOf(partition);
    const room = Math.max(0, cap - (await redis.xlen(key)));
    const kept = entries.slice(0, room);
    await Promise.all(
      kept.map(({ kind, row }) => redis.xadd(key, "*", "kind", kind, "row", JSON.stringify(row))),
    );
    return kept.length;
  }

  /** @returns the oldest entries */
  async read(partition: number, limit: number): Promise<readonly SpooledEntry<Row>[]> {
    const entries = await this.#options.redis.xrange(this.#keyOf(partition), "-", "+", "COUNT", limit);
    return entries.map(([entryId, fields]) => decode<Row>(entryId, fields));
  }

  async remove(partition: number, entryIds: readonly string[]): Promise<void> {
    if (entryIds.length > 0) await this.#options.redis.xdel(this.#keyOf(partition), ...entryIds);
  }

  async count(partition: number): Promise<number> {
    return this.#options.redis.xlen(this.#keyOf(partition));
  }

  /** Removes what waits for a user, or was published by them. */
  async erase(partition: number, userId: string): Promise<void> {
    const { redis } = this.#options;
    const key = this.#keyOf(partition);
    for (let from = "-"; ;) {
      const page = await redis.xrange(key, from, "+", "COUNT", ERASE_PAGE);
      const theirs = page.filter(([id, fields]) => {
        const { recipient, from: publisher } = decode<Row>(id, fields).row;
        return recipient === userId || publisher === userId;
      });
      if (theirs.length > 0) await redis.xdel(key, ...theirs.map(([id]) => id));
      const last = page.at(-1)?.[0];
      if (last === undefined || page.length < ERASE_PAGE) return;
      from = `(${last}`;
    }
  }

  #keyOf(partition: number): string {
    const keys = this.#options.partitions[partition];
    if (keys === undefined) throw new Error(`no partition ${partition}`);
    return keys.archiveSpool;
  }
}

function decode<Row extends SpoolRow>(entryId: string, fields: readonly string[]): SpooledEntry<Row> {
  const [, kind, , row = ""] = fields;
  return { entryId, kind: kind as SpoolKind, row: JSON.parse(row) as Row };
}
