// collect, dispatch, the CLI -> here -> mongo-archive: the message archive, as its users see it.
// Guarantees of every implementation: what `write` answered is on disk of a majority; each call may be repeated; nothing
// but `write` and `replace` brings a row into being; a call that finds no server fails with ArchiveError, in bounded time.

/** `refused` was never accepted; `unknown` ended while nobody watched for longer than Redis remembers. */
export const archivedStates = [
  "pending",
  "scheduled",
  "queued",
  "delivered",
  "pushed",
  "failed",
  "published",
  "expired",
  "cancelled",
  "refused",
  "unknown",
] as const;
export type ArchivedState = (typeof archivedStates)[number];

/** What is known of a message before it is accepted. */
export interface NewRow {
  readonly id: string;
  readonly partition: number;
  /** A user, or a topic as `recipientOfTopic` writes it. */
  readonly recipient: string;
  /** The user whose client published it to a topic. */
  readonly from?: string | undefined;
  /** JSON text. */
  readonly data: string;
  /** JSON text; "" for none. */
  readonly notification: string;
  readonly fallback: "offline" | "always" | "never";
  readonly priority: "high" | "normal" | "low";
  readonly collapseKey: string | undefined;
  readonly ttlMs: number;
  readonly deliverAtMs: number | undefined;
  readonly fingerprint: string;
  /** Which attempt of the producer's wrote it. */
  readonly attempt: string;
  /** By the writer's clock. */
  readonly acceptedAtMs: number;
  readonly expiresAtMs: number;
}

export interface ArchivedRow extends NewRow {
  /** `pending` until somebody has looked what became of it. */
  readonly state: ArchivedState;
  readonly seq: number | undefined;
  readonly epoch: string | undefined;
  readonly endedAtMs: number | undefined;
  /** As a record's end has it: the cause of a failure, the channel of a push. */
  readonly word: string | undefined;
  /** When it is looked at next; undefined: it has ended for good. */
  readonly lookAtMs: number | undefined;
  /** Since when Redis was found not to know it. */
  readonly missingSinceMs: number | undefined;
  /** Redis lost it, and it could not be driven on yet. */
  readonly isLost: boolean;
}

/** What became of a row. Fields left out stay; null takes one away. */
export interface RowUpdate {
  readonly id: string;
  readonly state?: ArchivedState;
  readonly seq?: number;
  readonly epoch?: string;
  readonly acceptedAtMs?: number;
  readonly expiresAtMs?: number;
  readonly endedAtMs?: number;
  readonly word?: string | undefined;
  readonly lookAtMs?: number | null;
  readonly missingSinceMs?: number | null;
  readonly isLost?: true | null;
}

/** How far a partition's messages were looked for after Redis had lost data. */
export interface RedriveProgress {
  readonly partition: number;
  /** The generation that the partition had when its messages were last looked for. */
  readonly generation: string;
  readonly isUnderWay: boolean;
  readonly looked: number;
  readonly driven: number;
  readonly changedAtMs: number;
  /** When somebody asked that everything be looked for once more. */
  readonly askedAtMs?: number;
  /** The asking that the last search has answered. */
  readonly answeredMs?: number;
}

export interface ArchiveStatus {
  readonly version: string;
  readonly ttlIndex: boolean;
  /** About. */
  readonly rows: number;
  readonly erasuresOpen: number;
  readonly partitions: readonly RedriveProgress[];
}

export interface OpenRowsPage {
  readonly partition: number;
  /** Accepted at this time or later. */
  readonly fromMs: number;
  /** Accepted before this time. */
  readonly untilMs: number;
  /** The last row of the page before. */
  readonly after: { readonly acceptedAtMs: number; readonly id: string } | undefined;
  readonly limit: number;
}

export interface MessageArchive {
  /**
   * @returns for each: whether this call surely wrote it, or it may have been there, or why it could not be written
   */
  write(rows: readonly NewRow[]): Promise<readonly ("new" | "known" | Error)[]>;
  /** Puts accepted content over a row that an earlier attempt left, unless it has ended otherwise than `refused`. */
  replace(rows: readonly NewRow[]): Promise<void>;
  /** Ends rows that were refused, where this attempt's row still stands as it was written. */
  refuse(rows: readonly Pick<NewRow, "id" | "attempt">[]): Promise<void>;
  /** The rows of a partition whose time to be looked at has come, the most overdue first. */
  due(partition: number, nowMs: number, limit: number): Promise<ArchivedRow[]>;
  /** The rows of a partition that have not ended, by time of acceptance. */
  open(page: OpenRowsPage): Promise<ArchivedRow[]>;
  /** Writes what became of rows; those that are gone stay gone. */
  update(updates: readonly RowUpdate[]): Promise<void>;
  find(id: string): Promise<ArchivedRow | undefined>;
  /** What a recipient got, or a topic has, in one lineage, ascending by seq, without what expired or was cancelled. @param below this seq, exclusive; undefined: no bound */
  list(
    recipient: string,
    lineage: string,
    page: { readonly after: number; readonly below: number | undefined; readonly limit: number },
  ): Promise<ArchivedRow[]>;
  /** A tombstone: nothing of this user that was accepted before may be kept or driven on. */
  noteErasure(userId: string, untilMs: number): Promise<void>;
  /** Removes what the tombstone covers, also what the user published, and notes that it was done. */
  erase(userId: string): Promise<number>;
  /** @returns until when what these users got is erased; those without a tombstone are missing */
  erasedUntil(userIds: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** Removes rows, whatever their state. */
  remove(ids: readonly string[]): Promise<void>;
  /** Removes what is kept no longer, where the server does not do that itself. */
  removeOld(nowMs: number): Promise<number>;
  progress(partition: number): Promise<RedriveProgress | undefined>;
  /** Leaves what was asked meanwhile. */
  noteProgress(progress: Omit<RedriveProgress, "askedAtMs">): Promise<void>;
  /** Asks that all open rows of these partitions be looked for once more, also where a search is under way. */
  askRedrive(partitions: readonly number[], nowMs: number): Promise<void>;
  /** Rows of a partition to be looked at by now: how far the archive is behind. */
  lag(partition: number, nowMs: number): Promise<{ readonly rows: number; readonly oldestMs: number }>;
  /** Rows of a partition that have not ended; beyond a hundred thousand it stops counting. */
  countOpen(partition: number): Promise<number>;
  status(): Promise<ArchiveStatus>;
  close(): Promise<void>;
}

/** The archive did not answer, or refused. */
export class ArchiveError extends Error {
  constructor(cause: unknown) {
    super(`the message archive: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.name = "ArchiveError";
  }
}
