// mongo-archive -> here -> ensure-schema: the archive's database: its collections, once their schema is in place.
// Guarantees: a call ends within the timeout, even if no server can be found; a process may start before its archive
// does. Writes are confirmed by a majority.
import { type Collection, type Db, MongoClient } from "mongodb";
import type { Logger } from "../kernel/logging/logging.js";
import { ensureSchema, type SchemaState } from "./ensure-schema.js";
import { ArchiveError, type RedriveProgress } from "./message-archive.js";
import type { RowDocument } from "./row-document.js";

export interface ArchiveDatabaseOptions {
  readonly url: string;
  readonly timeoutMs: number;
  readonly logger: Logger;
}

export interface ErasureDocument {
  /** A hash of the user, so that the remaining document names nobody. */
  readonly _id: string;
  readonly until: Date;
  /** The user's name, until their rows are gone. */
  readonly user?: string;
}

export interface ProgressDocument extends Omit<RedriveProgress, "partition"> {
  readonly _id: number;
}

/** The collections of the archive. */
export interface ArchiveCollections {
  readonly messages: Collection<RowDocument>;
  readonly erasures: Collection<ErasureDocument>;
  readonly progress: Collection<ProgressDocument>;
  readonly schema: SchemaState;
}

const DEFAULT_DATABASE = "petrel";
/** The number of sequential calls that ensuring the schema takes. */
const SCHEMA_CALLS = 9;
/** Lets the driver's own deadline expire first, because its error says more. */
const GRACE_MS = 100;

export class ArchiveDatabase {
  readonly #client: MongoClient;
  readonly #options: ArchiveDatabaseOptions;
  #schema: Promise<SchemaState> | undefined;

  constructor(options: ArchiveDatabaseOptions) {
    const { url, timeoutMs } = options;
    this.#options = options;
    this.#client = new MongoClient(url, {
      appName: "petrel",
      serverSelectionTimeoutMS: timeoutMs,
      connectTimeoutMS: timeoutMs,
      socketTimeoutMS: timeoutMs,
      writeConcern: { w: "majority", wtimeoutMS: timeoutMs },
      ignoreUndefined: true,
    });
  }

  async collections(): Promise<ArchiveCollections> {
    const db = this.#db();
    const schema = await this.#ensured(db);
    return {
      messages: db.collection<RowDocument>("messages"),
      erasures: db.collection<ErasureDocument>("erasures"),
      progress: db.collection<ProgressDocument>("progress"),
      schema,
    };
  }

  /** @throws ArchiveError */
  async inTime<T>(work: Promise<T>, timeoutMs = this.#options.timeoutMs): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs + GRACE_MS);
    });
    try {
      return await Promise.race([work, late]);
    } catch (error) {
      throw error instanceof ArchiveError ? error : new ArchiveError(error);
    } finally {
      clearTimeout(timer);
    }
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  #db(): Db {
    const named = this.#client.db();
    // The name that the driver uses if the URL has none.
    return named.databaseName === "test" && !/\/test(\?|$)/.test(this.#options.url)
      ? this.#client.db(DEFAULT_DATABASE)
      : named;
  }

  /** Runs once, as soon as a server answers: a process may start before its archive does. */
  #ensured(db: Db): Promise<SchemaState> {
    const { logger, timeoutMs } = this.#options;
    this.#schema ??= this.inTime(ensureSchema(db, logger), SCHEMA_CALLS * timeoutMs).catch(
      (error: unknown) => {
        this.#schema = undefined;
        throw error;
      },
    );
    return this.#schema;
  }
}
