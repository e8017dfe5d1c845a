// routes/archive-routes -> here -> shared/archive: what operators see of the archive, and may request of it.
// Guarantees: only reads, and records requests; the partitions' owners do the work. An archive that does not answer is
// "unavailable".
import { ArchiveError, type MessageArchive, type NewRow } from "@petrel/shared/archive/message-archive";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { awaitAnswer } from "@petrel/shared/redis/connection/await-answer";
import { readServerTimeMs } from "@petrel/shared/redis/connection/server-time";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { ArchiveSpool } from "@petrel/shared/redis/spool/archive-spool";
import { isAnswered, readGeneration } from "./redrive-due.js";

export interface ArchiveViewDeps {
  readonly archive: Pick<MessageArchive, "status" | "progress" | "lag" | "countOpen" | "askRedrive">;
  readonly scripts: Pick<ScriptRunner, "redis">;
  readonly partitions: readonly PartitionKeys[];
}

export interface ArchivedPartition {
  readonly partition: number;
  readonly open: number;
  /** The open rows that are due for a check. */
  readonly overdue: number;
  readonly lagMs: number;
  readonly spooled: number;
  /** `due`: begins as soon as the partition has an owner that reaches the archive. */
  readonly redrive: "due" | "running" | "done";
  /** Rows that the last or current search has checked. */
  readonly looked: number;
  readonly driven: number;
  readonly changedAtMs: number | undefined;
}

/** Each partition takes a few queries of the archive. */
const AT_ONCE = 8;

export class ArchiveView {
  readonly #deps: ArchiveViewDeps;
  readonly #spool: ArchiveSpool<NewRow>;

  constructor(deps: ArchiveViewDeps) {
    const { scripts, partitions } = deps;
    this.#deps = deps;
    this.#spool = new ArchiveSpool<NewRow>({ redis: scripts.redis, partitions, cap: 0 });
  }

  get partitions(): readonly PartitionKeys[] {
    return this.#deps.partitions;
  }

  /** @throws PetrelError PETREL_UNAVAILABLE */
  async status(): Promise<{
    readonly server: string;
    readonly rows: number;
    readonly erasuresOpen: number;
  }> {
    const { version: server, rows, erasuresOpen } = await askArchive(this.#deps.archive.status());
    return { server, rows, erasuresOpen };
  }

  /** @throws PetrelError PETREL_UNAVAILABLE */
  async describe(some: readonly PartitionKeys[]): Promise<ArchivedPartition[]> {
    const nowMs = await awaitAnswer(readServerTimeMs(this.#deps.scripts.redis));
    const described: ArchivedPartition[] = [];
    for (let from = 0; from < some.length; from += AT_ONCE) {
      const step = some.slice(from, from + AT_ONCE);
      described.push(...(await Promise.all(step.map((keys) => this.#describeOne(keys, nowMs)))));
    }
    return described;
  }

  /** @throws PetrelError PETREL_UNAVAILABLE */
  async askRedrive(): Promise<void> {
    const { archive, scripts, partitions } = this.#deps;
    const nowMs = await awaitAnswer(readServerTimeMs(scripts.redis));
    await askArchive(
      archive.askRedrive(
        partitions.map(({ partition }) => partition),
        nowMs,
      ),
    );
  }

  async #describeOne(keys: PartitionKeys, nowMs: number): Promise<ArchivedPartition> {
    const { archive, scripts } = this.#deps;
    const { partition } = keys;
    const [[open, lag, progress], [spooled, generation]] = await Promise.all([
      askArchive(
        Promise.all([
          archive.countOpen(partition),
          archive.lag(partition, nowMs),
          archive.progress(partition),
        ]),
      ),
      awaitAnswer(Promise.all([this.#spool.count(partition), readGeneration(scripts, keys)])),
    ]);
    const isDone = progress !== undefined && (generation === undefined || isAnswered(progress, generation));
    return {
      partition,
      open,
      overdue: lag.rows,
      lagMs: lag.oldestMs,
      spooled,
      redrive: progress?.isUnderWay === true ? "running" : isDone ? "done" : "due",
      looked: progress?.looked ?? 0,
      driven: progress?.driven ?? 0,
      changedAtMs: progress?.changedAtMs,
    };
  }
}

async function askArchive<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof ArchiveError)) throw error;
    throw new PetrelError("PETREL_UNAVAILABLE", "The message archive does not answer.", { cause: error });
  }
}
