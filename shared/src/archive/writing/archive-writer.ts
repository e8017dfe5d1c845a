// collect/archive-first, push-node/archive-publications -> here -> archive/message-archive, redis/spool: rows on their
// way to the archive.
// Guarantees: writes in batches, one at a time, in order. While the archive does not answer, a required one fails each
// write at once; an optional one gets its rows later, from the spool. A separate probe notices when the archive is
// back, so no message waits to find out.
import { describeError, PetrelError } from "../../kernel/errors.js";
import { groupBy } from "../../kernel/group-by.js";
import type { Logger } from "../../kernel/logging/logging.js";
import type { MessageArchive, NewRow } from "../message-archive.js";
import type { ArchiveMetrics } from "./archive-metrics.js";
import { TurnQueue } from "./turn-queue.js";

type SpoolKind = "write" | "replace" | "refuse";

/** The operations of redis/spool/archive-spool. */
export interface RowSpool {
  /** @returns how many of them were kept; always the first ones */
  add(
    partition: number,
    entries: readonly { readonly kind: SpoolKind; readonly row: NewRow }[],
  ): Promise<number>;
}

export interface ArchiveWriterOptions {
  readonly archive: Pick<MessageArchive, "write" | "replace" | "refuse" | "update" | "progress">;
  /** Undefined if the archive is required. */
  readonly spool: RowSpool | undefined;
  readonly metrics: ArchiveMetrics;
  readonly logger: Logger;
  readonly probeIntervalMs?: number;
}

/** A topic message's place in its topic. */
export interface Publication {
  readonly id: string;
  /** The user whose client published it. */
  readonly from?: string | undefined;
  readonly offset: number;
  readonly epoch: string;
  /** By Redis' clock. */
  readonly atMs: number;
}

/** `lost`: the spool was full; the archive will never have it. */
export type Written = "new" | "known" | "spooled" | "lost";

const MAX_ROWS = 1_000;
const PROBE_INTERVAL_MS = 500;
/** For the probe's query: a number that no partition has. */
const NO_PARTITION = -1;

export class ArchiveWriter {
  readonly #options: ArchiveWriterOptions;
  readonly #writes: TurnQueue<NewRow, Written>;
  readonly #changes: TurnQueue<{ readonly kind: "replace" | "refuse"; readonly row: NewRow }, true>;
  readonly #places: TurnQueue<Publication, true>;
  #probe: NodeJS.Timeout | undefined;

  constructor(options: ArchiveWriterOptions) {
    this.#options = options;
    this.#writes = new TurnQueue((rows) => this.#write(rows), MAX_ROWS);
    this.#changes = new TurnQueue((changes) => this.#change(changes), MAX_ROWS);
    this.#places = new TurnQueue((some) => this.#notePlaces(some), MAX_ROWS);
  }

  /** Whether the archive is considered down: writes fail or go to the spool without trying it. */
  get isAway(): boolean {
    return this.#probe !== undefined;
  }

  /** @throws PetrelError PETREL_UNAVAILABLE if the archive is required and may not have the row */
  write(row: NewRow): Promise<Written> {
    return this.#writes.add(row);
  }

  /** Call it after the message was accepted with this content: an earlier attempt's row may stand in its place. */
  async replace(row: NewRow, written: Written): Promise<void> {
    await this.#tell("replace", row, written);
  }

  /** Call it after the message was refused. */
  async refuse(row: NewRow, written: Written): Promise<void> {
    await this.#tell("refuse", row, written);
  }

  /**
   * Records where it was published. Never rejects: if it cannot be recorded now, the partition's owner finds it later
   * by the message's record.
   */
  async published(publication: Publication, written: Written): Promise<void> {
    if (written === "lost" || written === "spooled" || this.isAway) return;
    await this.#places.add(publication);
  }

  close(): void {
    clearInterval(this.#probe);
  }

  async #tell(kind: "replace" | "refuse", row: NewRow, written: Written): Promise<void> {
    if (written === "lost") return;
    // After the row that it concerns.
    if (written === "spooled") await this.#spool(kind, [row]);
    else await this.#changes.add({ kind, row });
  }

  async #write(rows: readonly NewRow[]): Promise<readonly (Written | Error)[]> {
    const { archive, spool, metrics } = this.#options;
    if (!this.isAway) {
      try {
        const results = await archive.write(rows);
        metrics.written(rows.length);
        return await Promise.all(
          results.map(async (result, i) => {
            const row = rows[i];
            if (!(result instanceof Error) || row === undefined) return result;
            return spool === undefined ? unavailable(result) : this.#spool("write", [row]);
          }),
        );
      } catch (error) {
        this.#noteAway(error);
        if (spool === undefined) throw unavailable(error);
      }
    }
    if (spool === undefined) throw unavailable();
    const written = new Map<NewRow, Written>();
    for (const [, some] of groupBy(rows, ({ partition }) => partition)) {
      const kept = await this.#keep("write", some);
      for (const [i, row] of some.entries()) written.set(row, i < kept ? "spooled" : "lost");
    }
    return rows.map((row) => written.get(row) ?? "lost");
  }

  async #change(
    changes: readonly { readonly kind: "replace" | "refuse"; readonly row: NewRow }[],
  ): Promise<readonly true[]> {
    const { archive, spool } = this.#options;
    const of = (kind: SpoolKind): NewRow[] => changes.flatMap((one) => (one.kind === kind ? one.row : []));
    try {
      if (this.isAway) throw unavailable();
      await Promise.all([archive.replace(of("replace")), archive.refuse(of("refuse"))]);
    } catch (error) {
      if (!(error instanceof PetrelError)) this.#noteAway(error);
      if (spool === undefined) throw unavailable(error);
      for (const { kind, row } of changes) await this.#spool(kind, [row]);
    }
    return changes.map(() => true as const);
  }

  async #notePlaces(publications: readonly Publication[]): Promise<readonly true[]> {
    try {
      await this.#options.archive.update(
        publications.map(({ id, from, offset, epoch, atMs }) => ({
          id,
          state: "published",
          seq: offset,
          epoch,
          acceptedAtMs: atMs,
          endedAtMs: atMs,
          // The user may have been erased meanwhile, so the row is checked once more.
          ...(from === undefined ? { lookAtMs: null } : {}),
        })),
      );
    } catch (error) {
      this.#noteAway(error);
    }
    return publications.map(() => true as const);
  }

  async #spool(kind: SpoolKind, rows: readonly [NewRow]): Promise<Written> {
    return (await this.#keep(kind, rows)) === 1 ? "spooled" : "lost";
  }

  /** @param rows of one partition. @returns how many of them were kept */
  async #keep(kind: SpoolKind, rows: readonly NewRow[]): Promise<number> {
    const { spool, metrics } = this.#options;
    const [first] = rows;
    if (spool === undefined || first === undefined) return 0;
    const kept = await spool.add(
      first.partition,
      rows.map((row) => ({ kind, row })),
    );
    metrics.spooled(kept);
    metrics.lost(rows.length - kept);
    return kept;
  }

  #noteAway(error: unknown): void {
    const { archive, logger, metrics, probeIntervalMs = PROBE_INTERVAL_MS } = this.#options;
    if (this.#probe !== undefined) return;
    metrics.failed();
    logger.warn({ reason: describeError(error) }, "the message archive does not answer");
    let isAsking = false;
    const probe = async (): Promise<void> => {
      if (isAsking) return;
      isAsking = true;
      try {
        await archive.progress(NO_PARTITION);
        clearInterval(this.#probe);
        this.#probe = undefined;
        logger.info("the message archive answers again");
      } catch {
        // Still down: ask again later.
      } finally {
        isAsking = false;
      }
    };
    this.#probe = setInterval(() => void probe(), probeIntervalMs);
    this.#probe.unref();
  }
}

function unavailable(cause?: unknown): PetrelError {
  return new PetrelError("PETREL_UNAVAILABLE", "The message archive does not answer.", { cause });
}
