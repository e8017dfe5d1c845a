// fallback-chain -> here -> fall-back: takes messages from one queue of the fallback, in all partitions, and tries to
// reach their users by its channel, or passes them on to a channel's queue.
// Guarantees: a bounded number at a time; high before normal before low, and none starves. What a dead worker left
// behind is taken over after a while. A stop finishes the sends in progress, within a deadline, and gives the rest
// back.
// Every dispatcher does this for every partition, whether or not it owns it: the consumer group gives an entry to one
// of them, and it is settled once, by whoever settles it first. So nothing here is fenced.
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
import { fallBack } from "./fall-back.js";
import type { FallBackOptions } from "./held-entry.js";
import { FallbackShares, type PartitionBacklog } from "./fallback-shares.js";

export interface FallbackWorkersOptions extends FallBackOptions {
  /** A channel's queue; absent: the common queue of messages without a channel yet. */
  readonly queue?: string | undefined;
  readonly partitions: readonly PartitionKeys[];
  /** Identifies this process among the workers: name and boot epoch, so that a restarted one is another. */
  readonly workerId: string;
  /** The most entries in progress. */
  readonly concurrency: number;
  /** How long a stop waits for sends in progress, ms. */
  readonly stopDeadlineMs: number;
  /**
   * Entries of a partition that may wait for another attempt. Beyond it no new one is begun, and the streams fill up to
   * their cap.
   */
  readonly retriesCap: number;
  /** How many more entries the next queues can take; absent means unbounded. */
  readonly roomBehind?: (keys: PartitionKeys) => number;
  /** Whether an operator has paused this channel; then nothing is taken. Never by default. */
  readonly isPaused?: (channel: string) => boolean;
  /** How often to look for new entries, ms; up to ten times as long while none arrive. */
  readonly pollMs?: number;
}

const POLL_MS = 100;
/** How much rarer polls become when they find nothing; the longest wait for work from other processes. */
const IDLE_FACTOR = 10;
const RETRIES_PER_POLL = 200;
/** How many batches of due retries a poll moves: retries wait by time, only the streams are sorted by priority. */
const MOVES_PER_POLL = 10;
const CLAIM_SCAN_MS = 5_000;
/** How often a paused channel is checked; a resume also pokes. */
const PAUSED_LOOK_MS = 1_000;
/** After an outage of Redis, those that wait to settle what they have sent go first. */
const SETTLE_FIRST_MS = 5_000;
/** Ended workers cost nothing; only their names are tidied up. */
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
  /** Entries known to wait, in their stream or for another attempt. */
  readonly #waiting = new Map<PartitionKeys, number>();
  #wakeUp = new AbortController();
  #polledAtMs = Number.NEGATIVE_INFINITY;
  #claimedAtMs = Number.NEGATIVE_INFINITY;
  #forgotAtMs: number;
  #claimTurn = 0;
  #hasRetries = false;
  /** Redis's clock minus our monotonic one. */
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

  /** The number of entries that this process holds. */
  get held(): number {
    return this.#held.size;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** A stream has a new entry: look at once. */
  poke(): void {
    this.#polledAtMs = Number.NEGATIVE_INFINITY;
    this.#restMs = this.#pollMs;
    this.#wakeUp.abort();
  }

  /** The number of entries known to wait here. */
  waitingIn(keys: PartitionKeys): number {
    return this.#waiting.get(keys) ?? 0;
  }

  /** Call it when this process has just put an entry into the queue. */
  noteEntry(keys: PartitionKeys, priority: Priority): void {
    const { waiting } = this.#backlog.get(keys) ?? nothingIn(keys);
    this.#backlog.set(keys, { keys, waiting: { ...waiting, [priority]: waiting[priority] + 1 } });
    this.#waiting.set(keys, this.waitingIn(keys) + 1);
    this.#restMs = this.#pollMs;
    this.#wakeUp.abort();
  }

  /** Resolves once nothing is in progress. */
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

  /** Rests until the next poll. The idle interval starts over whenever there is something to do. */
  async #rest(busy: boolean): Promise<void> {
    if (busy || this.#hasRetries || this.#knowsOfMore()) this.#restMs = this.#pollMs;
    if (busy) return;
    await pause(untilCommonTick(this.#restMs), this.#wakeUp.signal);
    this.#restMs = Math.min(2 * this.#restMs, IDLE_FACTOR * this.#pollMs);
  }

  /** Whether sends from here are paused. Entries that are only passed on never are. */
  get #isPaused(): boolean {
    const { channel, isPaused } = this.#options;
    return channel !== undefined && isPaused?.(channel) === true;
  }

  #knowsOfMore(): boolean {
    return [...this.#backlog.values()].some(({ waiting }) =>
      priorities.some((priority) => waiting[priority] > 0),
    );
  }

  /** @returns whether anything was moved or is waiting */
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

  /** Moves due retries back to their streams, so that a long queue of low ones does not precede a high one. */
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

  /** At most as many entries as could all become retries, together with those in progress. */
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

  /** @returns whether there was anything */
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
      // Others read too: fewer than requested means that none are left, except those noted meanwhile.
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
    // Limited to the free slots; with many sources, a few from each in turn.
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

/** The results that arrived: one partition's fault must not keep the others from their work. Throws if none did. */
async function eachAnswer<T>(calls: readonly Promise<T>[]): Promise<(T | undefined)[]> {
  const results = await Promise.allSettled(calls);
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined && !results.some(({ status }) => status === "fulfilled")) throw failed.reason;
  return results.map((result) => (result.status === "fulfilled" ? result.value : undefined));
}
