// open-archive -> here: the message archive in MongoDB.
// Guarantees: those of message-archive. Writes are unordered and confirmed by a majority. A call ends within the
// timeout, even if no server can be found.
import { createHash } from "node:crypto";
import { type AnyBulkWriteOperation, type Collection, MongoBulkWriteError } from "mongodb";
import { ArchiveDatabase, type ArchiveDatabaseOptions, type ProgressDocument } from "./archive-database.js";
import {
  ArchiveError,
  type ArchivedRow,
  type ArchiveStatus,
  type MessageArchive,
  type NewRow,
  type OpenRowsPage,
  type RedriveProgress,
  type RowUpdate,
} from "./message-archive.js";
import { decodeRow, encodeRow, encodeUpdate, type RowDocument } from "./row-document.js";

export interface MongoArchiveOptions extends ArchiveDatabaseOptions {
  readonly keepDays: number;
}

const DAY_MS = 86_400_000;
/** Another writer inserted the same row at the same moment. */
const DUPLICATE_KEY = 11_000;

export class MongoArchive implements MessageArchive {
  readonly #database: ArchiveDatabase;
  readonly #keepMs: number;

  constructor(options: MongoArchiveOptions) {
    this.#keepMs = options.keepDays * DAY_MS;
    this.#database = new ArchiveDatabase(options);
  }

  async write(rows: readonly NewRow[]): Promise<readonly ("new" | "known" | Error)[]> {
    if (rows.length === 0) return [];
    const messages = await this.#messages();
    const operations = rows.map((row): AnyBulkWriteOperation<RowDocument> => {
      const { _id, ...rest } = encodeRow(row, this.#keepMs);
      return { updateOne: { filter: { _id }, update: { $setOnInsert: rest }, upsert: true } };
    });
    const results: ("new" | "known" | Error)[] = rows.map(() => "known");
    // Counted by ids: some servers report how many rows they upserted rather than how many were asked for.
    const note = (upserted: Readonly<Record<number, unknown>>): void => {
      const made = new Set(Object.values(upserted));
      for (const [i, { id }] of rows.entries()) if (made.delete(id)) results[i] = "new";
    };
    try {
      const { upsertedIds } = await this.#database.inTime(messages.bulkWrite(operations, { ordered: false }));
      note(upsertedIds);
    } catch (error) {
      const cause = error instanceof ArchiveError ? error.cause : error;
      // A failed write concern affects all rows.
      if (!(cause instanceof MongoBulkWriteError) || writeErrorsOf(cause).length === 0) throw error;
      note(cause.upsertedIds);
      for (const { index, code, errmsg } of writeErrorsOf(cause))
        results[index] = code === DUPLICATE_KEY ? "known" : new ArchiveError(errmsg ?? "not written");
    }
    return results;
  }

  async replace(rows: readonly NewRow[]): Promise<void> {
    await this.#bulk(
      rows.map((row) => {
        const { _id, ...rest } = encodeRow(row, this.#keepMs);
        return {
          updateOne: { filter: { _id, state: { $in: ["pending", "refused"] } }, update: { $set: rest } },
        };
      }),
    );
  }

  async refuse(rows: readonly Pick<NewRow, "id" | "attempt">[]): Promise<void> {
    const endedAt = new Date();
    await this.#bulk(
      rows.map(({ id, attempt }) => ({
        updateOne: {
          filter: { _id: id, attempt, state: "pending" },
          update: { $set: { state: "refused", endedAt }, $unset: { lookAt: "", lost: "" } },
        },
      })),
    );
  }

  async due(partition: number, nowMs: number, limit: number): Promise<ArchivedRow[]> {
    const messages = await this.#messages();
    const found = messages
      .find({ partition, lookAt: { $lte: new Date(nowMs) } })
      .sort({ lookAt: 1 })
      .limit(limit);
    return (await this.#database.inTime(found.toArray())).map(decodeRow);
  }

  async open({ partition, fromMs, untilMs, after, limit }: OpenRowsPage): Promise<ArchivedRow[]> {
    const messages = await this.#messages();
    const until = { $lt: new Date(untilMs) };
    const range =
      after === undefined
        ? { acceptedAt: { $gte: new Date(fromMs), ...until } }
        : {
            $or: [
              { acceptedAt: { $gt: new Date(after.acceptedAtMs), ...until } },
              { acceptedAt: new Date(after.acceptedAtMs), _id: { $gt: after.id } },
            ],
          };
    const found = messages
      .find({ partition, lookAt: { $exists: true }, ...range })
      .sort({ acceptedAt: 1, _id: 1 })
      .limit(limit);
    return (await this.#database.inTime(found.toArray())).map(decodeRow);
  }

  async update(updates: readonly RowUpdate[]): Promise<void> {
    await this.#bulk(
      updates.map((update) => ({
        updateOne: { filter: { _id: update.id }, update: encodeUpdate(update) },
      })),
    );
  }

  async find(id: string): Promise<ArchivedRow | undefined> {
    const messages = await this.#messages();
    const found = await this.#database.inTime(messages.findOne({ _id: id }));
    return found === null ? undefined : decodeRow(found);
  }

  async list(
    recipient: string,
    lineage: string,
    { after, below, limit }: { after: number; below: number | undefined; limit: number },
  ): Promise<ArchivedRow[]> {
    const messages = await this.#messages();
    const seq = { $gt: after, ...(below === undefined ? {} : { $lt: below }) };
    const found = messages
      .find({ recipient, lineage, seq, state: { $in: [...LISTED] } })
      .sort({ seq: 1 })
      .limit(limit);
    return (await this.#database.inTime(found.toArray())).map(decodeRow);
  }

  async noteErasure(userId: string, untilMs: number): Promise<void> {
    const { erasures } = await this.#database.collections();
    const update = { $set: { user: userId, until: new Date(untilMs) } };
    await this.#database.inTime(erasures.updateOne({ _id: hashOf(userId) }, update, { upsert: true }));
  }

  async erase(userId: string): Promise<number> {
    const { messages, erasures } = await this.#database.collections();
    const _id = hashOf(userId);
    const tombstone = await this.#database.inTime(erasures.findOne({ _id }));
    if (tombstone === null) return 0;
    const { until } = tombstone;
    let removed = 0;
    for (const whose of [{ recipient: userId }, { from: userId }]) {
      const { deletedCount } = await this.#database.inTime(
        messages.deleteMany({ ...whose, acceptedAt: { $lte: until } }),
      );
      removed += deletedCount;
    }
    // Another process may have begun a later erasure of the same user, which still needs the name.
    await this.#database.inTime(erasures.updateOne({ _id, until }, { $unset: { user: "" } }));
    return removed;
  }

  async erasedUntil(userIds: readonly string[]): Promise<ReadonlyMap<string, number>> {
    if (userIds.length === 0) return new Map();
    const { erasures } = await this.#database.collections();
    const byHash = new Map(userIds.map((userId) => [hashOf(userId), userId]));
    const found = await this.#database.inTime(erasures.find({ _id: { $in: [...byHash.keys()] } }).toArray());
    return new Map(found.map(({ _id, until }) => [byHash.get(_id) ?? "", until.getTime()]));
  }

  async remove(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    const messages = await this.#messages();
    await this.#database.inTime(messages.deleteMany({ _id: { $in: [...ids] } }));
  }

  async removeOld(nowMs: number): Promise<number> {
    const { messages, erasures, schema } = await this.#database.collections();
    for (const { user } of await this.#database.inTime(erasures.find({ user: { $exists: true } }).toArray()))
      if (user !== undefined) await this.erase(user);
    // No row is kept for longer than this.
    const oldMs = nowMs - Math.max(this.#keepMs, OPEN_AT_MOST_MS) - DAY_MS;
    await this.#database.inTime(
      erasures.deleteMany({ until: { $lt: new Date(oldMs) }, user: { $exists: false } }),
    );
    if (schema.ttlIndex) return 0;
    const { deletedCount } = await this.#database.inTime(
      messages.deleteMany({ deleteAt: { $lt: new Date(nowMs) } }),
    );
    return deletedCount;
  }

  async progress(partition: number): Promise<RedriveProgress | undefined> {
    const { progress } = await this.#database.collections();
    const found = await this.#database.inTime(progress.findOne({ _id: partition }));
    return found === null ? undefined : decodeProgress(found);
  }

  async noteProgress({ partition, ...rest }: Omit<RedriveProgress, "askedAtMs">): Promise<void> {
    const { progress } = await this.#database.collections();
    await this.#database.inTime(progress.updateOne({ _id: partition }, { $set: rest }, { upsert: true }));
  }

  async askRedrive(partitions: readonly number[], nowMs: number): Promise<void> {
    if (partitions.length === 0) return;
    const { progress } = await this.#database.collections();
    const unknown = { generation: "", isUnderWay: false, looked: 0, driven: 0, changedAtMs: nowMs };
    const operations = partitions.map((_id) => ({
      updateOne: {
        filter: { _id },
        update: { $set: { askedAtMs: nowMs }, $setOnInsert: unknown },
        upsert: true,
      },
    }));
    await this.#database.inTime(progress.bulkWrite(operations, { ordered: false }));
  }

  async lag(partition: number, nowMs: number): Promise<{ readonly rows: number; readonly oldestMs: number }> {
    const messages = await this.#messages();
    const filter = { partition, lookAt: { $lte: new Date(nowMs) } };
    const [rows, [oldest]] = await this.#database.inTime(
      Promise.all([
        messages.countDocuments(filter, { limit: LAG_COUNT_LIMIT }),
        messages.find(filter).sort({ lookAt: 1 }).limit(1).toArray(),
      ]),
    );
    return { rows, oldestMs: oldest?.lookAt === undefined ? 0 : nowMs - oldest.lookAt.getTime() };
  }

  async countOpen(partition: number): Promise<number> {
    const messages = await this.#messages();
    const filter = { partition, lookAt: { $exists: true } };
    return this.#database.inTime(messages.countDocuments(filter, { limit: LAG_COUNT_LIMIT }));
  }

  async status(): Promise<ArchiveStatus> {
    const { messages, erasures, progress, schema } = await this.#database.collections();
    const [rows, erasuresOpen, partitions] = await this.#database.inTime(
      Promise.all([
        messages.estimatedDocumentCount(),
        erasures.countDocuments({ user: { $exists: true } }),
        progress.find().sort({ _id: 1 }).toArray(),
      ]),
    );
    const { version, ttlIndex } = schema;
    return { version, ttlIndex, rows, erasuresOpen, partitions: partitions.map(decodeProgress) };
  }

  async close(): Promise<void> {
    await this.#database.close();
  }

  async #bulk(operations: readonly AnyBulkWriteOperation<RowDocument>[]): Promise<void> {
    if (operations.length === 0) return;
    const messages = await this.#messages();
    await this.#database.inTime(messages.bulkWrite(operations, { ordered: false }));
  }

  async #messages(): Promise<Collection<RowDocument>> {
    return (await this.#database.collections()).messages;
  }
}

/** The states of a message that its recipient got and that was not cancelled. */
const LISTED = ["queued", "delivered", "pushed", "failed", "published"] as const;
/** A count that is only displayed need not be exact beyond this. */
const LAG_COUNT_LIMIT = 100_000;
/** The longest delay before delivery plus the longest TTL: 30 days each. */
const OPEN_AT_MOST_MS = 60 * DAY_MS;

function decodeProgress({ _id: partition, ...rest }: ProgressDocument): RedriveProgress {
  return { partition, ...rest };
}

function writeErrorsOf({ writeErrors }: MongoBulkWriteError): {
  readonly index: number;
  readonly code: number;
  readonly errmsg: string | undefined;
}[] {
  return [writeErrors].flat().map(({ index, code, errmsg }) => ({ index, code, errmsg }));
}

function hashOf(userId: string): string {
  return createHash("sha256").update(userId).digest("base64url");
}
