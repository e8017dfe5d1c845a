// fallback-workers -> here: what waits in one queue of the fallback, partition by partition.
// Guarantees: no more is shown to wait than may be begun: together with those in progress, all of it could still become
// retries, or be passed on. Due retries are back in their streams before anything is taken.
import type { Clock } from "@petrel/shared/kernel/clock";
import { type Priority, priorities } from "@petrel/shared/protocol/messages/stored-message";
import { type PolledPartition, promoteRetries } from "@petrel/shared/redis/fallback/fallback-queue";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { eachAnswer } from "./each-answer.js";
import type { Allotment, PartitionBacklog } from "./fallback-shares.js";

export interface QueueBacklogOptions {
  readonly scripts: ScriptRunner;
  /** A channel's queue; absent: the common queue of messages without a channel yet. */
  readonly queue?: string | undefined;
  readonly partitions: readonly PartitionKeys[];
  /**
   * Entries of a partition that may wait for another attempt. Beyond it no new one is begun, and the streams fill up to
   * their cap.
   */
  readonly retriesCap: number;
  /** How many more entries the next queues can take; absent means unbounded. */
  readonly roomBehind?: (keys: PartitionKeys) => number;
  readonly clock: Clock;
}

const RETRIES_PER_POLL = 200;
/** How many batches of due retries a poll moves: retries wait by time, only the streams are sorted by priority. */
const MOVES_PER_POLL = 10;

export class QueueBacklog {
  readonly #options: QueueBacklogOptions;
  readonly #held: () => number;
  readonly #backlog: Map<PartitionKeys, PartitionBacklog>;
  /** Entries known to wait, in their stream or for another attempt. */
  readonly #waiting = new Map<PartitionKeys, number>();
  #hasRetries = false;
  /** Redis's clock minus our monotonic one. */
  #clockOffsetMs: number;

  /** @param held the number of entries in progress */
  constructor(options: QueueBacklogOptions, held: () => number) {
    this.#options = options;
    this.#held = held;
    this.#backlog = new Map(options.partitions.map((keys) => [keys, nothingIn(keys)]));
    const { clock } = options;
    this.#clockOffsetMs = clock.wallMs() - clock.monotonicMs();
  }

  get knowsOfMore(): boolean {
    return [...this.#backlog.values()].some(({ waiting }) =>
      priorities.some((priority) => waiting[priority] > 0),
    );
  }

  /** Whether some entry waits for another attempt. */
  get hasRetries(): boolean {
    return this.#hasRetries;
  }

  /** What may be begun, as it is now. */
  snapshot(): ReadonlyMap<PartitionKeys, PartitionBacklog> {
    return new Map(this.#backlog);
  }

  /** The number of entries known to wait here. */
  waitingIn(keys: PartitionKeys): number {
    return this.#waiting.get(keys) ?? 0;
  }

  serverNowMs(): number {
    return this.#clockOffsetMs + this.#options.clock.monotonicMs();
  }

  /** This process has just put an entry into the queue. */
  note(keys: PartitionKeys, priority: Priority): void {
    const { waiting } = this.#backlog.get(keys) ?? nothingIn(keys);
    this.#backlog.set(keys, { keys, waiting: { ...waiting, [priority]: waiting[priority] + 1 } });
    this.#waiting.set(keys, this.waitingIn(keys) + 1);
  }

  /** A read has taken this many. @param before the snapshot that the read was made for */
  took(
    { keys, priority, count }: Allotment,
    taken: number,
    before: ReadonlyMap<PartitionKeys, PartitionBacklog>,
  ): void {
    const { waiting } = this.#backlog.get(keys) ?? nothingIn(keys);
    const expected = before.get(keys)?.waiting[priority] ?? 0;
    // Others read too: fewer than requested means that none are left, except those noted meanwhile.
    const gone = taken < count ? expected : taken;
    const left = Math.max(0, waiting[priority] - gone);
    this.#backlog.set(keys, { keys, waiting: { ...waiting, [priority]: left } });
  }

  /** @returns whether anything was moved or is waiting */
  async poll(): Promise<boolean> {
    const { scripts, partitions, clock } = this.#options;
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
    let room = Math.max(0, Math.min(retriesCap - retries, behind) - this.#held());
    const clipped = { ...waiting };
    for (const priority of priorities) {
      clipped[priority] = Math.min(waiting[priority], room);
      room -= clipped[priority];
    }
    return clipped;
  }
}

function nothingIn(keys: PartitionKeys): PartitionBacklog {
  return { keys, waiting: { high: 0, normal: 0, low: 0 } };
}

function sumOf({ high, normal, low }: PartitionBacklog["waiting"]): number {
  return high + normal + low;
}
