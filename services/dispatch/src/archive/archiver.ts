// own-partitions -> here -> judge-row, drive-message, shared/archive: keeps the message archive in step with Redis, for
// the partitions owned here.
// Guarantees: each open row is checked until it has ended, whichever events are enabled. What the spool holds reaches
// the archive in order. After Redis has lost data, every open row of the partition is checked at a limited pace, and
// messages that Redis no longer knows are re-driven; an interrupted search starts over. Every step may run twice.
import type { ArchivedRow, MessageArchive, NewRow, RowUpdate } from "@petrel/shared/archive/message-archive";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { createRareLog, type RareLog } from "@petrel/shared/kernel/logging/rare-log";
import { Loop } from "@petrel/shared/kernel/loop";
import { readServerTimeMs } from "@petrel/shared/redis/connection/server-time";
import { readMessages } from "@petrel/shared/redis/inbox/read-message";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { ArchiveSpool } from "@petrel/shared/redis/spool/archive-spool";
import type { HeldPartition } from "../own/held-partition.js";
import type { PartitionOwner } from "../own/own-partitions.js";
import type { ArchiverMetrics } from "./archiver-metrics.js";
import { type DriveDeps, driveMessage } from "./drive-message.js";
import { ErasedTakeBack } from "./take-back-erased.js";
import { isAnswered, readGeneration } from "./redrive-due.js";
import { drainSpool } from "./drain-spool.js";
import { erasedUntilOf, usersOf } from "./erased-rows.js";
import { CLOCK_TOLERANCE_MS, judgeRow, LOOK_AT_LEAST_MS } from "./judge-row.js";

export interface ArchiverOptions extends DriveDeps {
  readonly scripts: ScriptRunner;
  readonly owner: Pick<PartitionOwner, "open">;
  readonly archive: MessageArchive;
  readonly spool: Pick<ArchiveSpool<NewRow>, "read" | "remove" | "count">;
  readonly metrics: ArchiverMetrics;
  readonly logger: Logger;
  /** Lost messages re-driven per second, for each partition. */
  readonly redrivePerSecond: number;
  readonly intervalMs?: number;
}

/** The search for what Redis has lost, and how far it has got. */
interface Search {
  readonly generation: string;
  /** The operator's request that this search answers. */
  readonly askedAtMs: number | undefined;
  readonly lostBeforeMs: number;
  /** The newest first: the span that the lost tail may cover, then everything older. */
  readonly spans: { readonly fromMs: number; readonly untilMs: number }[];
  after: { readonly acceptedAtMs: number; readonly id: string } | undefined;
  looked: number;
  driven: number;
}

const INTERVAL_MS = 1_000;
const PAGE = 500;
const SEARCH_PAGE = 200;
/** Longer than any tail that Redis loses. */
const TAIL_MS = 60 * 60_000;
/** How long until a message that found no room is re-driven again. */
const AGAIN_MS = 15_000;
const SWEEP_INTERVAL_MS = 60_000;
const FAILURE_LOG_MS = 30_000;

export class Archiver {
  readonly #options: ArchiverOptions;
  readonly #loop = new Loop((signal) => this.#tick(signal));
  readonly #searches = new WeakMap<HeldPartition, Search>();
  readonly #failures: RareLog;
  readonly #takeBack: ErasedTakeBack;
  #shown = new Set<number>();
  #nextSweepMs = 0;

  constructor(options: ArchiverOptions) {
    this.#options = options;
    this.#takeBack = new ErasedTakeBack(options);
    this.#failures = createRareLog(options.logger, FAILURE_LOG_MS);
  }

  start(): void {
    this.#loop.start();
  }

  /** Resolves once the round in progress has ended. */
  stop(): Promise<void> {
    return this.#loop.stop();
  }

  async #tick(signal: AbortSignal): Promise<number> {
    const { owner, intervalMs = INTERVAL_MS } = this.#options;
    let nextInMs = intervalMs;
    const owned = owner.open;
    this.#forgetOthers(owned);
    await Promise.all(
      owned.map(async (held) => {
        if (signal.aborted) return;
        nextInMs = Math.min(nextInMs, await this.#round(held));
      }),
    );
    return nextInMs;
  }

  /** @returns the pause before the next round */
  async #round(held: HeldPartition): Promise<number> {
    const { intervalMs = INTERVAL_MS, metrics } = this.#options;
    let nextInMs = intervalMs;
    try {
      await held.runStep(async () => {
        nextInMs = await this.#serve(held);
      });
    } catch (error) {
      metrics.failed();
      this.#failures.warn(`the message archive is not up to date: ${describeError(error)}`);
    }
    return nextInMs;
  }

  async #serve(held: HeldPartition): Promise<number> {
    const { scripts, archive, spool, metrics, intervalMs = INTERVAL_MS } = this.#options;
    const { keys } = held;
    await this.#takeBack.check(keys);
    const hasMore = await drainSpool(keys.partition, { archive, spool });
    metrics.spool(keys.partition, hasMore ? await spool.count(keys.partition) : 0);
    const generation = await readGeneration(scripts, keys);
    const nowMs = await readServerTimeMs(scripts.redis, keys.owner);
    const search = await this.#searchOf(held, generation, nowMs);
    const pauseMs = search === undefined ? intervalMs : await this.#searchOn(held, search, nowMs);
    const due = await archive.due(keys.partition, nowMs, PAGE);
    const oldest = due[0]?.lookAtMs;
    metrics.lag(keys.partition, oldest === undefined ? 0 : Math.max(0, nowMs - oldest) / 1_000);
    await this.#look(keys, due, { nowMs, generation, lostBeforeMs: search?.lostBeforeMs });
    await this.#sweep(keys, nowMs);
    return due.length === PAGE || hasMore ? 0 : pauseMs;
  }

  /** The search that is due or under way: needed if the generation has changed since the last complete one. */
  async #searchOf(
    held: HeldPartition,
    generation: string | undefined,
    nowMs: number,
  ): Promise<Search | undefined> {
    const { archive, logger } = this.#options;
    const { partition } = held.keys;
    // Nothing has been written since Redis started; the first write will show which generation it is.
    if (generation === undefined) return undefined;
    const known = this.#searches.get(held);
    if (known?.generation === generation) return known;
    const before = await archive.progress(partition);
    if (before !== undefined && isAnswered(before, generation)) return undefined;
    const tailFromMs = nowMs - TAIL_MS;
    const search: Search = {
      generation,
      askedAtMs: before?.askedAtMs,
      lostBeforeMs: nowMs,
      spans: [
        { fromMs: tailFromMs, untilMs: nowMs + CLOCK_TOLERANCE_MS },
        { fromMs: 0, untilMs: tailFromMs },
      ],
      after: undefined,
      looked: 0,
      driven: 0,
    };
    this.#searches.set(held, search);
    logger.info(
      { partition, generation },
      "checking the message archive for messages that Redis may have lost",
    );
    return search;
  }

  /** Checks one page. @returns the pause that keeps to the pace */
  async #searchOn(held: HeldPartition, search: Search, nowMs: number): Promise<number> {
    const { archive, logger, redrivePerSecond, intervalMs = INTERVAL_MS } = this.#options;
    const { keys } = held;
    const { partition } = keys;
    const { generation, lostBeforeMs, after } = search;
    const [span] = search.spans;
    if (span === undefined) return intervalMs;
    const rows = await archive.open({ partition, ...span, after, limit: SEARCH_PAGE });
    const driven = await this.#look(keys, rows, { nowMs, generation, lostBeforeMs });
    search.looked += rows.length;
    search.driven += driven;
    const last = rows.at(-1);
    if (rows.length === SEARCH_PAGE && last !== undefined) {
      search.after = { acceptedAtMs: last.acceptedAtMs, id: last.id };
    } else {
      search.spans.shift();
      search.after = undefined;
    }
    const isUnderWay = search.spans.length > 0;
    await archive.noteProgress({
      partition,
      // Written only at the end, so that an owner that takes over earlier starts the search again.
      generation: isUnderWay ? "" : generation,
      isUnderWay,
      looked: search.looked,
      driven: search.driven,
      changedAtMs: nowMs,
      // A request that came after this search began is for the next search.
      ...(search.askedAtMs === undefined ? {} : { answeredMs: search.askedAtMs }),
    });
    if (isUnderWay) return Math.ceil((driven / redrivePerSecond) * 1_000);
    this.#searches.delete(held);
    const { looked } = search;
    logger.info(
      { partition, looked, driven: search.driven },
      "the message archive was checked: lost messages were sent again",
    );
    return intervalMs;
  }

  /** @returns how many were re-driven */
  async #look(
    keys: PartitionKeys,
    rows: readonly ArchivedRow[],
    at: {
      readonly nowMs: number;
      readonly generation: string | undefined;
      readonly lostBeforeMs: number | undefined;
    },
  ): Promise<number> {
    if (rows.length === 0) return 0;
    const { scripts, archive, metrics } = this.#options;
    const { nowMs, lostBeforeMs } = at;
    const erased = await archive.erasedUntil(usersOf(rows));
    const found = await readMessages(scripts, keys, rows, nowMs);
    // Redis may have lost data just before the look-up; then conclude nothing from what it does not know.
    const isSame = !found.includes(undefined) || (await readGeneration(scripts, keys)) === at.generation;
    const updates: RowUpdate[] = [];
    const removed: string[] = [];
    const lost: ArchivedRow[] = [];
    for (const [i, row] of rows.entries()) {
      if (found[i] === undefined && !isSame) continue;
      const erasedUntilMs = erasedUntilOf(erased, row);
      const verdict = judgeRow(row, found[i], { nowMs, erasedUntilMs, lostBeforeMs });
      if (verdict.kind === "update") updates.push(verdict.update);
      else if (verdict.kind === "remove") removed.push(row.id);
      else lost.push(row);
    }
    await archive.remove(removed);
    await this.#takeBack.note(keys, lost);
    // All in one turn, so that a user's messages keep their order.
    const outcomes = await Promise.all(lost.map((row) => driveMessage(this.#options, row, nowMs)));
    // Their users may have been erased since the tombstones were read. A message whose answer is missing may be stored.
    await this.#takeBack.forget(
      keys,
      lost.filter((_, i) => outcomes[i] === "there"),
    );
    if (lost.length > 0) await this.#takeBack.check(keys);
    for (const [i, { id }] of lost.entries()) {
      const outcome = outcomes[i] ?? "later";
      metrics.driven(outcome);
      updates.push(
        outcome === "later"
          ? { id, isLost: true, lookAtMs: nowMs + AGAIN_MS }
          : { id, state: "queued", isLost: null, missingSinceMs: null, lookAtMs: nowMs + LOOK_AT_LEAST_MS },
      );
    }
    await archive.update(updates);
    metrics.updated(updates.length);
    return outcomes.filter((outcome) => outcome === "driven").length;
  }

  /** Run by one owner: that of the first partition. */
  async #sweep({ partition }: PartitionKeys, nowMs: number): Promise<void> {
    if (partition !== 0 || nowMs < this.#nextSweepMs) return;
    this.#nextSweepMs = nowMs + SWEEP_INTERVAL_MS;
    await this.#options.archive.removeOld(nowMs);
  }

  #forgetOthers(owned: readonly HeldPartition[]): void {
    const now = new Set(owned.map(({ keys }) => keys.partition));
    for (const partition of this.#shown) if (!now.has(partition)) this.#options.metrics.forget(partition);
    this.#shown = now;
  }
}
