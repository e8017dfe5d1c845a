// fallback-chain -> here -> fall-back: takes messages from one queue of the fallback, in all partitions, and tries to
// reach their users by its channel; or sends them on to a channel's queue.
// Guarantees: at most so many at a time; high before normal before low, and none starves; what a dead worker left behind
// is taken over after a while; a stop finishes what is being sent, within a deadline, and gives the rest back.
//
// Every dispatcher does this for every partition, owner or not: an entry is given to one of them by its consumer group,
// and settled once, by whoever settles it first. So nothing here is fenced.
import { setMaxListeners } from "node:events";
import { backoffMs } from "@petrel/shared/kernel/backoff";
import { untilCommonTick } from "@petrel/shared/kernel/common-tick";
import { describeError } from "@petrel/shared/kernel/errors";
import { pause } from "@petrel/shared/kernel/pause";
import { traceIdOf } from "@petrel/shared/kernel/tracing/tracing";
import { type Priority, priorities } from "@petrel/shared/protocol/messages/stored-message";
import {
  claimFallback,
  type FallbackSource,
  forgetWorkers,
  giveBackFallback,
  type PolledPartition,
  promoteRetries,
  readFallback,
  streamOf,
  type TakenEntry,
} from "@petrel/shared/redis/fallback/fallback-queue";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { fallBack, type FallBackOptions } from "./fall-back.js";
import { FallbackShares, type PartitionBacklog } from "./fallback-shares.js";

export interface FallbackWorkersOptions extends FallBackOptions {
  /** Which queue: a channel's; absent: that of messages which no channel was chosen for yet. */
  readonly queue?: string | undefined;
  readonly partitions: readonly PartitionKeys[];
  /** Names this process among the workers: name and boot epoch, so that a restarted one is another. */
  readonly workerId: string;
  /** Entries under way at the same time. */
  readonly concurrency: number;
  /** How long a stop waits for sends that are under way, ms. */
  readonly stopDeadlineMs: number;
  /** Entries of a partition that may wait for another attempt: beyond it none is begun, and streams fill up to their cap. */
  readonly retriesCap: number;
  /** How many more the queues may take to which entries go on from here; absent: no bound. */
  readonly roomBehind?: (keys: PartitionKeys) => number;
  /** An operator has paused this channel: nothing is taken while it is. None by default. */
  readonly isPaused?: (channel: string) => boolean;
  /** How often to look for new entries, ms; up to ten times as long while nothing comes. */
  readonly pollMs?: number;
}

const POLL_MS = 100;
/** Polls that find nothing become so much rarer: workers of other processes wait for that long at most. */
const IDLE_FACTOR = 10;
const RETRIES_PER_POLL = 200;
/** So often a poll moves on where that many were due: retries wait by time, and only their streams know priorities. */
const MOVES_PER_POLL = 10;
const CLAIM_SCAN_MS = 5_000;
/** A resumed channel pokes as well. */
const PAUSED_LOOK_MS = 1_000;
/** After Redis was away: those who wait to settle what they have sent go first. */
const SETTLE_FIRST_MS = 5_000;
/** Workers that have ended are no burden: their names are only tidied up. */
const FORGET_EVERY_MS = 60_000;
const FORGET_IDLE_MS = 10 * 60_000;
const BACKOFF = { baseMs: 50, capMs: 2_000 } as const;

export class FallbackWorkers {
  readonly #options: FallbackWorkersOptions;
  readonly #pollMs: number;
  #restMs: number;
  readonly #sources: readonly FallbackSource[];
  readonly #shares = new FallbackShares();
  readonly #stopping = new AbortController();
  readonly #ending = new AbortController();
  readonly #held = new Map<string, Promise<void>>();
  readonly #backlog: Map<PartitionKeys, PartitionBacklog>;
  /** Entries that wait, in their stream or for another attempt, as far as is known. */
  readonly #waiting = new Map<PartitionKeys, number>();
  #wakeUp = new AbortController();
  #polledAtMs = Number.NEGATIVE_INFINITY;
  #claimedAtMs = Number.NEGATIVE_INFINITY;
  #forgotAtMs: number;
  #claimTurn = 0;
  #hasRetries = false;
  /** Redis' clock minus our monotonic one. */
  #clockOffsetMs: number;
  #failing = false;
  #onRoom: (() => void) | undefined;
  #running: Promise<void> | undefined;

  constructor(options: FallbackWorkersOptions) {
    this.#options = options;
    // Each send listens to it.
    setMaxListeners(0, this.#ending.signal);
    this.#pollMs = options.pollMs ?? POLL_MS;
    this.#restMs = this.#pollMs;
    this.#sources = options.partitions.flatMap((keys) =>
      priorities.map((priority) => ({ keys, priority, channel: options.queue })),
    );
    this.#backlog = new Map(options.partitions.map((keys) => [keys, nothingIn(keys)]));
    const { clock } = options;
    this.#clockOffsetMs = clock.wallMs() - clock.monotonicMs();
    this.#forgotAtMs = clock.monotonicMs();
  }

  /** Entries that this process holds. */
  get held(): number {
    return this.#held.size;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Something was just put into a stream: look at once. */
  poke(): void {
    this.#polledAtMs = Number.NEGATIVE_INFINITY;
    this.#restMs = this.#pollMs;
    this.#wakeUp.abort();
  }

  /** So many entries wait here, as far as is known. */
  waitingIn(keys: PartitionKeys): number {
    return this.#waiting.get(keys) ?? 0;
  }

  /** This process has just put an entry into the queue. */
  noteEntry(keys: PartitionKeys, priority: Priority): void {
    const { waiting } = this.#backlog.get(keys) ?? nothingIn(keys);
    this.#backlog.set(keys, { keys, waiting: { ...waiting, [priority]: waiting[priority] + 1 } });
    this.#waiting.set(keys, this.waitingIn(keys) + 1);
    this.#restMs = this.#pollMs;
    this.#wakeUp.abort();
  }

  /** Resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#wakeUp.abort();
    this.#onRoom?.();
    await this.#running;
    const timer = setTimeout(() => this.#ending.abort(), this.#options.stopDeadlineMs);
    await Promise.all(this.#held.values());
    clearTimeout(timer);
    await this.#forget(0, this.#options.workerId);
  }

  async #run(): Promise<void> {
    const { clock, concurrency } = this.#options;
    let failures = 0;
    while (!this.#stopping.signal.aborted) {
      this.#wakeUp = new AbortController();
      if (this.#held.size >= concurrency) {
        await new Promise<void>((resolve) => (this.#onRoom = resolve));
        continue;
      }
      if (this.#isPaused) {
        await pause(untilCommonTick(PAUSED_LOOK_MS), this.#wakeUp.signal);
        continue;
      }
      try {
        const nowMs = clock.monotonicMs();
        const claimEveryMs = Math.min(CLAIM_SCAN_MS, this.#options.claimMs / 4);
        if (this.#failing) this.#claimedAtMs = nowMs + SETTLE_FIRST_MS;
        let busy = nowMs - this.#claimedAtMs >= claimEveryMs && (await this.#claim());
        if (nowMs - this.#polledAtMs >= this.#pollMs || !this.#knowsOfMore()) {
          busy = (await this.#poll()) || busy;
        }
        busy = (await this.#take()) || busy;
        if (nowMs - this.#forgotAtMs >= FORGET_EVERY_MS) await this.#forget(FORGET_IDLE_MS, "");
        if (this.#failing) this.#options.logger.info("fallback streams can be read again");
        this.#failing = false;
        failures = 0;
        await this.#rest(busy);
      } catch (error) {
        if (!this.#failing) {
          this.#options.logger.warn({ reason: describeError(error) }, "fallback streams not read");
        }
        this.#failing = true;
        await pause(this.#pollMs + backoffMs(failures++, BACKOFF), this.#stopping.signal);
      }
    }
  }

  /** What was poked for, waits, or is to be tried again, is not kept waiting by the quiet before it. */
  async #rest(busy: boolean): Promise<void> {
    if (busy || this.#hasRetries || this.#knowsOfMore()) this.#restMs = this.#pollMs;
    if (busy) return;
    await pause(untilCommonTick(this.#restMs), this.#wakeUp.signal);
    this.#restMs = Math.min(2 * this.#restMs, IDLE_FACTOR * this.#pollMs);
  }

  /** What would be sent from here waits. Where entries only go on to another queue, they do. */
  get #isPaused(): boolean {
    const { channel, isPaused } = this.#options;
    return channel !== undefined && isPaused?.(channel) === true;
  }

  #knowsOfMore(): boolean {
    return [...this.#backlog.values()].some(({ waiting }) =>
      priorities.some((priority) => waiting[priority] > 0),
    );
  }

  /** @returns whether anything was moved or waits */
  async #poll(): Promise<boolean> {
    const { scripts, partitions, clock } = this.#options;
    this.#polledAtMs = clock.monotonicMs();
    const polled = await eachAnswer(scripts.together(() => partitions.map((keys) => this.#promote(keys))));
    let moved = false;
    this.#hasRetries = false;
    for (const [i, keys] of partitions.entries()) {
      const answer = polled[i];
      this.#backlog.set(
        keys,
        answer === undefined ? nothingIn(keys) : { keys, waiting: this.#clip(keys, answer) },
      );
      if (answer === undefined) continue;
      this.#waiting.set(keys, answer.retries + sumOf(answer.waiting));
      this.#clockOffsetMs = answer.nowMs - clock.monotonicMs();
      moved ||= answer.promoted > 0;
      this.#hasRetries ||= answer.retries > 0;
    }
    return moved;
  }

  /** What is due goes back to its stream, so that a long queue of low ones does not stand before a high one. */
  async #promote(keys: PartitionKeys): Promise<PolledPartition> {
    const { scripts, queue } = this.#options;
    let promoted = 0;
    let polled = await promoteRetries(scripts, keys, RETRIES_PER_POLL, queue);
    for (let moves = 1; polled.promoted === RETRIES_PER_POLL && moves < MOVES_PER_POLL; moves++) {
      promoted += polled.promoted;
      polled = await promoteRetries(scripts, keys, RETRIES_PER_POLL, queue);
    }
    return { ...polled, promoted: promoted + polled.promoted };
  }

  /** No more than may all have to wait for another attempt, with those that are under way. */
  #clip(keys: PartitionKeys, { waiting, retries }: PolledPartition): PartitionBacklog["waiting"] {
    const { retriesCap, roomBehind } = this.#options;
    const behind = roomBehind?.(keys) ?? Number.POSITIVE_INFINITY;
    let room = Math.max(0, Math.min(retriesCap - retries, behind) - this.#held.size);
    const clipped = { ...waiting };
    for (const priority of priorities) {
      clipped[priority] = Math.min(waiting[priority], room);
      room -= clipped[priority];
    }
    return clipped;
  }

  /** @returns whether anything was there */
  async #take(): Promise<boolean> {
    const { scripts, workerId, concurrency, queue } = this.#options;
    const free = concurrency - this.#held.size;
    const before = new Map(this.#backlog);
    const allotted = this.#shares.allot([...before.values()], free);
    if (allotted.length === 0) return false;
    const taken = await eachAnswer(
      scripts.together(() =>
        allotted.map((source) =>
          readFallback(scripts, { ...source, channel: queue }, workerId, source.count),
        ),
      ),
    );
    let any = false;
    for (const [i, { keys, priority, count }] of allotted.entries()) {
      const entries = taken[i] ?? [];
      const { waiting } = this.#backlog.get(keys) ?? nothingIn(keys);
      const expected = before.get(keys)?.waiting[priority] ?? 0;
      // Others read too: fewer than asked for means that none are left, but for those noted meanwhile.
      const gone = entries.length < count ? expected : entries.length;
      const left = Math.max(0, waiting[priority] - gone);
      this.#backlog.set(keys, { keys, waiting: { ...waiting, [priority]: left } });
      for (const entry of entries) this.#begin(entry);
      any ||= entries.length > 0;
    }
    return any;
  }

  /** @returns whether anything was claimed */
  async #claim(): Promise<boolean> {
    const { scripts, workerId, concurrency, claimMs, metrics, clock } = this.#options;
    const free = concurrency - this.#held.size;
    // No more than there is room for: with many sources, some of them each time.
    const count = Math.max(1, Math.floor(free / this.#sources.length));
    const sources = Array.from({ length: Math.min(free, this.#sources.length) }, (_, i) =>
      at(this.#sources, this.#claimTurn + i),
    );
    this.#claimTurn += sources.length;
    const options = {
      idleMs: claimMs,
      count,
      isHeldHere: (stream: string, entryId: string) => this.#held.has(nameOf(stream, entryId)),
    };
    const claimed = await eachAnswer(
      scripts.together(() =>
        sources.map((source) => claimFallback(scripts.redis, source, workerId, options)),
      ),
    );
    const entries = claimed.flatMap((found) => found ?? []);
    if (entries.length === 0) {
      this.#claimedAtMs = clock.monotonicMs();
      return false;
    }
    metrics.claimed(entries.length);
    this.#options.logger.info({ count: entries.length }, "fallback entries taken over");
    for (const entry of entries) this.#begin(entry);
    return true;
  }

  #begin(entry: TakenEntry): void {
    const name = nameOf(streamOf(entry), entry.entryId);
    if (this.#held.has(name)) return;
    this.#held.set(
      name,
      this.#work(entry).finally(() => {
        this.#held.delete(name);
        this.#onRoom?.();
      }),
    );
  }

  async #work(entry: TakenEntry): Promise<void> {
    const { clock, claimMs, scripts, workerId, logger } = this.#options;
    try {
      const result = await fallBack(this.#options, {
        entry,
        serverNowMs: () => this.#clockOffsetMs + clock.monotonicMs(),
        sendBeforeMs: clock.monotonicMs() + claimMs / 2,
        mayBegin: () => !this.#stopping.signal.aborted,
        signal: this.#ending.signal,
      });
      if (result === "left") await giveBackFallback(scripts, entry, workerId, claimMs);
    } catch (error) {
      // It stays pending until another worker takes it over.
      const { entryId, keys, message } = entry;
      logger.error(
        {
          err: error,
          partition: keys.partition,
          entryId,
          messageId: message.id,
          ...traceIdOf(message.trace),
        },
        "fallback entry not settled",
      );
    }
  }

  async #forget(idleMs: number, only: string): Promise<void> {
    const { scripts, logger, clock } = this.#options;
    this.#forgotAtMs = clock.monotonicMs();
    await Promise.all(
      scripts.together(() => this.#sources.map((source) => forgetWorkers(scripts, source, idleMs, only))),
    ).catch((error: unknown) => {
      logger.debug({ reason: describeError(error) }, "workers not tidied up");
    });
  }
}

function nothingIn(keys: PartitionKeys): PartitionBacklog {
  return { keys, waiting: { high: 0, normal: 0, low: 0 } };
}

function sumOf({ high, normal, low }: PartitionBacklog["waiting"]): number {
  return high + normal + low;
}

function nameOf(stream: string, entryId: string): string {
  return `${stream} ${entryId}`;
}

function at<T>(list: readonly T[], index: number): T {
  return list[index % list.length] as T;
}

/** Those that answered; one partition's fault does not keep the others from their work. Throws where none did. */
async function eachAnswer<T>(calls: readonly Promise<T>[]): Promise<(T | undefined)[]> {
  const results = await Promise.allSettled(calls);
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined && !results.some(({ status }) => status === "fulfilled")) throw failed.reason;
  return results.map((result) => (result.status === "fulfilled" ? result.value : undefined));
}
