// fallback-chain -> here -> fall-back: takes messages from one queue of the fallback, in all partitions, and tries to
// reach their users by its channel, or passes them on to a channel's queue.
// Guarantees: a bounded number at a time; high before normal before low, and none starves. What a dead worker left
// behind is taken over after a while. A stop finishes the sends in progress, within a deadline, and gives the rest
// back.
// Every dispatcher does this for every partition, whether or not it owns it: the consumer group gives an entry to one
// of them, and it is settled once, by whoever settles it first. So nothing here is fenced.
import { setMaxListeners } from "node:events";
import { backoffMs } from "@petrel/shared/kernel/backoff";
import type { CommonTicks } from "@petrel/shared/kernel/common-tick";
import { describeError } from "@petrel/shared/kernel/errors";
import { pause } from "@petrel/shared/kernel/pause";
import { traceIdOf } from "@petrel/shared/kernel/tracing/tracing";
import { type Priority, priorities } from "@petrel/shared/protocol/messages/stored-message";
import {
  claimFallback,
  type FallbackSource,
  forgetWorkers,
  giveBackFallback,
  readFallback,
  streamOf,
  type TakenEntry,
} from "@petrel/shared/redis/fallback/fallback-queue";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { eachAnswer } from "./each-answer.js";
import { fallBack } from "./fall-back.js";
import { FallbackShares } from "./fallback-shares.js";
import type { FallBackOptions } from "./held-entry.js";
import { QueueBacklog, type QueueBacklogOptions } from "./queue-backlog.js";

export interface FallbackWorkersOptions extends FallBackOptions, QueueBacklogOptions {
  /** Identifies this process among the workers: name and boot epoch, so that a restarted one is another. */
  readonly workerId: string;
  readonly ticks: Pick<CommonTicks, "pause">;
  /** The most entries in progress. */
  readonly concurrency: number;
  /** How long a stop waits for sends in progress, ms. */
  readonly stopDeadlineMs: number;
  /** Whether an operator has paused this channel; then nothing is taken. Never by default. */
  readonly isPaused?: (channel: string) => boolean;
  /** How often to look for new entries, ms; up to ten times as long while none arrive. */
  readonly pollMs?: number;
}

const POLL_MS = 100;
/** How much rarer polls become when they find nothing; the longest wait for work from other processes. */
const IDLE_FACTOR = 10;
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
  readonly #backlog: QueueBacklog;
  #wakeUp = new AbortController();
  #polledAtMs = Number.NEGATIVE_INFINITY;
  #claimedAtMs = Number.NEGATIVE_INFINITY;
  #forgotAtMs: number;
  #claimTurn = 0;
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
    this.#backlog = new QueueBacklog(options, () => this.#held.size);
    this.#forgotAtMs = options.clock.monotonicMs();
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
    return this.#backlog.waitingIn(keys);
  }

  /** Call it when this process has just put an entry into the queue. */
  noteEntry(keys: PartitionKeys, priority: Priority): void {
    this.#backlog.note(keys, priority);
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
    const { clock, ticks, concurrency } = this.#options;
    let failures = 0;
    while (!this.#stopping.signal.aborted) {
      this.#wakeUp = new AbortController();
      if (this.#held.size >= concurrency) {
        await new Promise<void>((resolve) => (this.#onRoom = resolve));
        continue;
      }
      if (this.#isPaused) {
        await ticks.pause(PAUSED_LOOK_MS, this.#wakeUp.signal);
        continue;
      }
      try {
        const nowMs = clock.monotonicMs();
        const claimEveryMs = Math.min(CLAIM_SCAN_MS, this.#options.claimMs / 4);
        if (this.#failing) this.#claimedAtMs = nowMs + SETTLE_FIRST_MS;
        let busy = nowMs - this.#claimedAtMs >= claimEveryMs && (await this.#claim());
        if (nowMs - this.#polledAtMs >= this.#pollMs || !this.#backlog.knowsOfMore) {
          this.#polledAtMs = clock.monotonicMs();
          busy = (await this.#backlog.poll()) || busy;
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
    if (busy || this.#backlog.hasRetries || this.#backlog.knowsOfMore) this.#restMs = this.#pollMs;
    if (busy) return;
    await this.#options.ticks.pause(this.#restMs, this.#wakeUp.signal);
    this.#restMs = Math.min(2 * this.#restMs, IDLE_FACTOR * this.#pollMs);
  }

  /** Whether sends from here are paused. Entries that are only passed on never are. */
  get #isPaused(): boolean {
    const { channel, isPaused } = this.#options;
    return channel !== undefined && isPaused?.(channel) === true;
  }

  /** @returns whether there was anything */
  async #take(): Promise<boolean> {
    const { scripts, workerId, concurrency, queue } = this.#options;
    const free = concurrency - this.#held.size;
    const before = this.#backlog.snapshot();
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
    for (const [i, allotment] of allotted.entries()) {
      const entries = taken[i] ?? [];
      this.#backlog.took(allotment, entries.length, before);
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
        serverNowMs: () => this.#backlog.serverNowMs(),
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
      logger.debug({ reason: describeError(error) }, "old workers not cleaned up");
    });
  }
}

function nameOf(stream: string, entryId: string): string {
  return `${stream} ${entryId}`;
}

function at<T>(list: readonly T[], index: number): T {
  return list[index % list.length] as T;
}
