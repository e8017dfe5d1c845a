// webhook-lane -> here -> redis/webhooks/webhook-progress: how far one webhook has got in one partition.
// Guarantees: recorded by the partition's owner only. What was delivered is recorded with the next batch, or as soon as
// there is none; after a crash before that, the last batch is sent once more.
import type { Clock } from "@petrel/shared/kernel/clock";
import type { EventPosition } from "@petrel/shared/protocol/events/event-position";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import {
  beginWebhookProgress,
  endWebhookProgress,
  type ProgressWrite,
  readWebhookProgress,
  stepWebhookProgress,
  type WebhookProgress,
} from "@petrel/shared/redis/webhooks/webhook-progress";
import type { WebhookRecord } from "@petrel/shared/redis/webhooks/webhook-record";
import type { HeldPartition } from "../own/held-partition.js";

export interface LaneProgressDeps {
  readonly scripts: ScriptRunner;
  readonly clock: Clock;
  /** A script reported the lease as stale. */
  readonly onStale: (held: HeldPartition) => void;
}

/** How often the place is recorded while all events are of unwanted types. */
const KEEP_PLACE_MS = 60_000;

export class LaneProgress {
  readonly #deps: LaneProgressDeps;
  readonly #held: HeldPartition;
  readonly #id: string;
  #current: WebhookProgress | undefined;
  #isOver = false;
  /** A batch was delivered since progress was last recorded. */
  #isUnwritten = false;
  /** The place has moved since progress was last recorded. */
  #isMoved = false;
  #writtenAtMs = Number.NEGATIVE_INFINITY;

  /** @param id the webhook's */
  constructor(deps: LaneProgressDeps, held: HeldPartition, id: string) {
    this.#deps = deps;
    this.#held = held;
    this.#id = id;
  }

  /** Undefined until it was read. */
  get current(): WebhookProgress | undefined {
    return this.#current;
  }

  /** The lease is stale, or somebody has removed or started the progress: this lane has ended. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /**
   * Adopts the progress in Redis and the webhook's requests.
   * @param onReplay it starts over
   * @returns whether the lane goes on
   */
  async follow({ id, createdAtMs, era, replay }: WebhookRecord, onReplay: () => void): Promise<boolean> {
    const { scripts } = this.#deps;
    const { keys, token } = this.#held;
    this.#current ??= await readWebhookProgress(scripts, keys, id);
    if (this.#current === undefined) {
      const first = { after: createdAtMs, failures: 0, era, replayed: 0 };
      if (!this.#judge(await beginWebhookProgress(scripts, keys, token, id, first))) return false;
      this.#current = first;
    }
    if (replay !== null && replay.number !== this.#current.replayed) {
      const { after } = replay;
      const from = typeof after === "number" ? after : (after[keys.partition] ?? createdAtMs);
      onReplay();
      return this.write({ after: from, failures: 0, era, replayed: replay.number });
    }
    // Failures before a resumption, or at another address, no longer count. Recorded with the next write.
    if (era !== this.#current.era) {
      this.#current = {
        ...this.#current,
        era,
        failures: 0,
        failingSinceMs: undefined,
        nextAtMs: undefined,
      };
    }
    return true;
  }

  /** The receiver is back: no pause is left. Recorded with the next write. */
  retryNow(): void {
    if (this.#current !== undefined) this.#current = { ...this.#current, nextAtMs: undefined };
  }

  /** Everything up to here was delivered. Recorded with the next write. */
  delivered(after: EventPosition): void {
    const { era = 0, replayed = 0 } = this.#current ?? {};
    this.#current = { after, failures: 0, era, replayed };
    this.#isUnwritten = true;
  }

  /** Up to here nothing is wanted. @returns whether that ends a batch, or changes what is known of a gap */
  passed(next: EventPosition, gap: boolean): boolean {
    if (this.#current === undefined) return false;
    const { after, open, gap: hadGap = false } = this.#current;
    this.#isMoved ||= !isSamePlace(after, next);
    this.#current = { ...this.#current, after: next, open: undefined, gap };
    return gap !== hadGap || open !== undefined;
  }

  /** Nothing waits: records what is worth it. */
  async keep(isNews: boolean): Promise<void> {
    const isOld = this.#isMoved && this.#deps.clock.monotonicMs() - this.#writtenAtMs > KEEP_PLACE_MS;
    if (this.#current !== undefined && (this.#isUnwritten || isNews || isOld))
      await this.write(this.#current);
  }

  /** @returns whether it was recorded; otherwise the lane ends */
  async write(progress: WebhookProgress): Promise<boolean> {
    const { keys, token } = this.#held;
    const written = await stepWebhookProgress(this.#deps.scripts, keys, token, this.#id, progress);
    if (!this.#judge(written)) return false;
    this.#current = progress;
    this.#isUnwritten = false;
    this.#isMoved = false;
    this.#writtenAtMs = this.#deps.clock.monotonicMs();
    return true;
  }

  /** Its webhook is gone. */
  async end(): Promise<void> {
    const { keys, token } = this.#held;
    await endWebhookProgress(this.#deps.scripts, keys, token, this.#id);
    this.#isOver = true;
  }

  /** Records what was delivered but not yet recorded, if the lease still stands. */
  async leave(): Promise<void> {
    if (!this.#isUnwritten || this.#current === undefined || !this.#held.isHeld) return;
    const { keys, token } = this.#held;
    try {
      await stepWebhookProgress(this.#deps.scripts, keys, token, this.#id, this.#current);
    } catch {
      // Then its last batch is sent once more, under the same id.
    }
  }

  #judge(written: ProgressWrite): boolean {
    if (written === "stale") this.#deps.onStale(this.#held);
    // `left`: somebody has removed or started it; the next look shows which.
    if (written !== "written") this.#isOver = true;
    return written === "written";
  }
}

function isSamePlace(one: EventPosition | number, other: EventPosition): boolean {
  return typeof one !== "number" && one.mark === other.mark && one.ms === other.ms && one.n === other.n;
}
