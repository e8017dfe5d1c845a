// mongo-archive -> here: the archive's indexes and schema version.
// Guarantees: several processes may run it at once. A schema newer than this release is refused. A server without
// TTL indexes is logged once.
import { type Db, MongoServerError } from "mongodb";
import type { Logger } from "../kernel/logging/logging.js";
import { SCHEMA_VERSION } from "./row-document.js";

export interface SchemaState {
  /** As the server reports it. */
  readonly version: string;
  /** Whether the server itself removes rows that have expired. */
  readonly ttlIndex: boolean;
}

const NOT_IMPLEMENTED = 238;

interface MetaDocument {
  readonly _id: "schema";
  readonly version: number;
}

/** @throws Error if the archive belongs to a newer release */
export async function ensureSchema(db: Db, logger: Logger): Promise<SchemaState> {
  const meta = db.collection<MetaDocument>("meta");
  await meta.updateOne({ _id: "schema" }, { $setOnInsert: { version: SCHEMA_VERSION } }, { upsert: true });
  const version = (await meta.findOne({ _id: "schema" }))?.version ?? SCHEMA_VERSION;
  if (version > SCHEMA_VERSION)
    throw new Error(`the archive has schema ${version}, and this release knows ${SCHEMA_VERSION}`);
  const messages = db.collection("messages");
  await messages.createIndex({ recipient: 1, lineage: 1, seq: 1 });
  // Only open rows: most have ended.
  await indexSome(db, { partition: 1, lookAt: 1 }, "lookAt");
  await indexSome(db, { partition: 1, acceptedAt: 1, _id: 1 }, "lookAt");
  // For erasures: few rows are published by clients.
  await indexSome(db, { from: 1 }, "from");
  const ttlIndex = await hasTtlIndex(db);
  if (!ttlIndex) logger.info("the archive's server has no TTL indexes: dispatch removes expired rows");
  const { version: server } = await db.admin().serverInfo();
  return { version: String(server), ttlIndex };
}

/** Indexes only rows that have a field, if the server supports that. */
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
  // Some servers accept the option but ignore it.
  const indexes = await messages.listIndexes().toArray();
  return indexes.some(({ expireAfterSeconds }) => expireAfterSeconds !== undefined);
}

/** How other vendors' servers reject an unknown option. */
function isNotImplemented(error: unknown): boolean {
  return error instanceof MongoServerError && error.code === NOT_IMPLEMENTED;
}
