// collect, dispatch, the CLI -> here -> mongo-archive: the message archive, as its users see it. Guarantees of every
// implementation: once `write` answers, the row is on disk on a majority. Every call may be repeated. Only `write` and
// `replace` create rows. A call that finds no server fails with ArchiveError, in bounded time.

/** `refused`: never accepted. `unknown`: ended while no process watched, for longer than Redis remembers. */
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

/** As the topic's rule said when the message was accepted; 0 messages for none. */
export interface RowHistory {
  readonly size: number;
  readonly ageMs: number;
  readonly bytes: number;
}

/** What is known about a message before it is accepted. */
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
  /** Of a topic's message that waits for its time: how much of the topic is kept once it is published. */
  readonly history?: RowHistory | undefined;
  readonly fingerprint: string;
  /** The producer's attempt that wrote it. */
  readonly attempt: string;
  /** By the writer's clock. */
  readonly acceptedAtMs: number;
  readonly expiresAtMs: number;
}

export interface ArchivedRow extends NewRow {
  /** `pending` until somebody has checked what became of it. */
  readonly state: ArchivedState;
  readonly seq: number | undefined;
  readonly epoch: string | undefined;
  readonly endedAtMs: number | undefined;
  /** As at the end of a record: the cause of a failure, or the channel of a push. */
  readonly word: string | undefined;
  /** When to check it next; undefined if it has ended for good. */
  readonly lookAtMs: number | undefined;
  /** When Redis was first found not to know it. */
  readonly missingSinceMs: number | undefined;
  /** Redis lost it, and it could not be re-driven yet. */
  readonly isLost: boolean;
}

/** What became of a row. An absent field stays; null removes it. */
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

/** How far the search for a partition's messages has got after Redis lost data. */
export interface RedriveProgress {
  readonly partition: number;
  /** The partition's generation at the last search. */
  readonly generation: string;
  readonly isUnderWay: boolean;
  readonly looked: number;
  readonly driven: number;
  readonly changedAtMs: number;
  /** When somebody asked for another full search. */
  readonly askedAtMs?: number;
  /** The request that the last search answered. */
  readonly answeredMs?: number;
}

export interface ArchiveStatus {
  readonly version: string;
  readonly ttlIndex: boolean;
  /** An estimate. */
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
  /** @returns for each row: "new" if this call surely wrote it, "known" if it may have existed, or the error */
  write(rows: readonly NewRow[]): Promise<readonly ("new" | "known" | Error)[]>;
  /**
   * Writes accepted content over a row that an earlier attempt left, unless that has ended in a state other than
   * `refused`.
   */
  replace(rows: readonly NewRow[]): Promise<void>;
  /** Marks rows as refused, if this attempt's row is still as it was written. */
  refuse(rows: readonly Pick<NewRow, "id" | "attempt">[]): Promise<void>;
  /** The rows of a partition that are due for a check, the most overdue first. */
  due(partition: number, nowMs: number, limit: number): Promise<ArchivedRow[]>;
  /** The rows of a partition that have not ended, by time of acceptance. */
  open(page: OpenRowsPage): Promise<ArchivedRow[]>;
  /** Updates rows; never recreates one that is gone. */
  update(updates: readonly RowUpdate[]): Promise<void>;
  find(id: string): Promise<ArchivedRow | undefined>;
  /**
   * What a recipient got, or what a topic holds, in one lineage, ascending by seq; without expired and cancelled
   * messages. @param below this seq, exclusive; undefined: no bound
   */
  list(
    recipient: string,
    lineage: string,
    page: { readonly after: number; readonly below: number | undefined; readonly limit: number },
  ): Promise<ArchivedRow[]>;
  /** Writes a tombstone: nothing that this user got before that time may be kept or re-driven. */
  noteErasure(userId: string, untilMs: number): Promise<void>;
  /** Removes what the tombstone covers, including what the user published, and records that it is done. */
  erase(userId: string): Promise<number>;
  /** @returns until when these users' messages are erased; users without a tombstone are absent */
  erasedUntil(userIds: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** Removes rows in any state. */
  remove(ids: readonly string[]): Promise<void>;
  /** Removes expired rows, if the server does not do so itself. */
  removeOld(nowMs: number): Promise<number>;
  progress(partition: number): Promise<RedriveProgress | undefined>;
  /** Leaves a request that came meanwhile in place. */
  noteProgress(progress: Omit<RedriveProgress, "askedAtMs">): Promise<void>;
  /** Requests another search for all open rows of these partitions, even if one is under way. */
  askRedrive(partitions: readonly number[], nowMs: number): Promise<void>;
  /** The rows of a partition that are due for a check: how far the archive is behind. */
  lag(partition: number, nowMs: number): Promise<{ readonly rows: number; readonly oldestMs: number }>;
  /** Rows of a partition that have not ended; stops counting at a hundred thousand. */
  countOpen(partition: number): Promise<number>;
  status(): Promise<ArchiveStatus>;
  close(): Promise<void>;
}

/** The archive did not answer, or reported an error. */
export class ArchiveError extends Error {
  constructor(cause: unknown) {
    super(`the message archive: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.name = "ArchiveError";
  }
}
