// mongo-archive -> here: the archive's indexes, and the version of its schema.
// Guarantees: may run in any number of processes at once; refuses a schema that is newer than this release; says once
// where the server has no TTL indexes.
import { type Db, MongoServerError } from "mongodb";
import type { Logger } from "../kernel/logging/logging.js";
import { SCHEMA_VERSION } from "./row-document.js";

export interface SchemaState {
  /** As the server calls itself. */
  readonly version: string;
  /** Whether the server removes by itself what is kept no longer. */
  readonly ttlIndex: boolean;
}

const NOT_IMPLEMENTED = 238;

interface MetaDocument {
  readonly _id: "schema";
  readonly version: number;
}

/** @throws Error where the archive is of a newer release */
export async function ensureSchema(db: Db, logger: Logger): Promise<SchemaState> {
  const meta = db.collection<MetaDocument>("meta");
  await meta.updateOne({ _id: "schema" }, { $setOnInsert: { version: SCHEMA_VERSION } }, { upsert: true });
  const version = (await meta.findOne({ _id: "schema" }))?.version ?? SCHEMA_VERSION;
  if (version > SCHEMA_VERSION)
    throw new Error(`the archive has schema ${version}, and this release knows ${SCHEMA_VERSION}`);
  const messages = db.collection("messages");
  await messages.createIndex({ recipient: 1, lineage: 1, seq: 1 });
  // Of open rows alone: most have ended.
  await indexSome(db, { partition: 1, lookAt: 1 }, "lookAt");
  await indexSome(db, { partition: 1, acceptedAt: 1, _id: 1 }, "lookAt");
  // What an erasure looks for: few are published by clients.
  await indexSome(db, { from: 1 }, "from");
  const ttlIndex = await hasTtlIndex(db);
  if (!ttlIndex) logger.info("the archive's server has no TTL indexes: dispatch removes what is old");
  const { version: server } = await db.admin().serverInfo();
  return { version: String(server), ttlIndex };
}

/** Of the rows that have a field alone, where the server can. */
async function indexSome(db: Db, by: Readonly<Record<string, 1>>, field: string): Promise<void> {
  const messages = db.collection("messages");
  try {
    await messages.createIndex(by, { partialFilterExpression: { [field]: { $exists: true } } });
  } catch (error) {
    if (!isNotImplemented(error)) throw error;
    await messages.createIndex(by);
  }
}

async function hasTtlIndex(db: Db): Promise<boolean> {
  const messages = db.collection("messages");
  try {
    await messages.createIndex({ deleteAt: 1 }, { expireAfterSeconds: 0 });
  } catch (error) {
    if (!isNotImplemented(error)) throw error;
    await messages.createIndex({ deleteAt: 1 });
    return false;
  }
  // Some servers accept the option, and forget it.
  const indexes = await messages.listIndexes().toArray();
  return indexes.some(({ expireAfterSeconds }) => expireAfterSeconds !== undefined);
}

/** As servers of other makers say of an option. */
function isNotImplemented(error: unknown): boolean {
  return error instanceof MongoServerError && error.code === NOT_IMPLEMENTED;
}
