// webhooks/deliver-webhooks -> here -> webhooks/post-signed: one webhook's events of one partition, batch after batch.
// Guarantees: in order; a batch is done only once the receiver took it, and delays only what follows it in this lane.
// Before its first attempt a batch is recorded in Redis, so after a crash or with a new owner the same bytes are sent
// under the same id. Given up after three days, with its place kept. A lane ends with its partition's lease, its
// webhook, or a pause.
import { backoffMs } from "@petrel/shared/kernel/backoff";
import { describeError } from "@petrel/shared/kernel/errors";
import { pause } from "@petrel/shared/kernel/pause";
import type { EventPosition } from "@petrel/shared/protocol/events/event-position";
import type { EventType } from "@petrel/shared/protocol/events/event-types";
import { readPartitionEvents } from "@petrel/shared/redis/events/read-partition-events";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import {
  beginWebhookProgress,
  endWebhookProgress,
  type ProgressWrite,
  readWebhookProgress,
  stepWebhookProgress,
  type WebhookProgress,
} from "@petrel/shared/redis/webhooks/webhook-progress";
import type { PausedReason, WebhookRecord } from "@petrel/shared/redis/webhooks/webhook-record";
import type { HeldPartition } from "../own/held-partition.js";
import { type Batch, cutBatch, remakeBatch } from "./cut-batch.js";
import type { EndpointBreaker } from "./endpoint-breaker.js";
import { postSigned, type PostSignedDeps, type SignedAnswer } from "./post-signed.js";
import type { WebhookSender } from "./sender/webhook-sender.js";
import type { WebhookMetrics } from "./webhook-metrics.js";

/** What all lanes of a webhook in this process share. */
export interface Endpoint {
  readonly id: string;
  readonly sender: WebhookSender;
  readonly breaker: EndpointBreaker;
}

export interface RetryRules {
  readonly baseMs: number;
  readonly capMs: number;
  /** How long without success until it is given up. */
  readonly giveUpAfterMs: number;
}

export interface LaneDeps extends PostSignedDeps {
  readonly scripts: ScriptRunner;
  readonly find: (id: string) => WebhookRecord | undefined;
  readonly retry: RetryRules;
  readonly metrics: WebhookMetrics;
  /** A script reported the lease as stale. */
  readonly onStale: (held: HeldPartition) => void;
  /** The webhook is given up, unless it has changed since. */
  readonly onGivenUp: (webhook: WebhookRecord, reason: PausedReason) => Promise<void>;
  /** All its lanes may continue. */
  readonly onRecovered: (id: string) => void;
}

/** Entries per read; a batch is cut from them. */
const PAGE = 500;
/** Long, because `poke` is called when there is news. */
const IDLE_MS = 60_000;
/** How often the place is recorded while all events are of unwanted types. */
const KEEP_PLACE_MS = 60_000;
const REDIS_RETRY_MS = 1_000;

export class WebhookLane {
  readonly held: HeldPartition;
  readonly endpoint: Endpoint;
  /** Resolves when the lane has ended; never rejects. */
  readonly done: Promise<void>;
  readonly #deps: LaneDeps;
  readonly #stop: AbortSignal;
  readonly #abort: AbortSignal;
  #progress: WebhookProgress | undefined;
  #batch: Batch | undefined;
  #isOn = true;
  #isPoked = false;
  #waiting = new AbortController();
  /** A batch was delivered since progress was last recorded. */
  #isUnwritten = false;
  /** The place has moved since progress was last recorded. */
  #isMoved = false;
  #writtenAtMs = Number.NEGATIVE_INFINITY;
  #recoveriesSeen: number;

  /**
   * @param stop begin nothing more
   * @param abort end requests in progress, too
   */
  constructor(
    deps: LaneDeps,
    held: HeldPartition,
    endpoint: Endpoint,
    stop: AbortSignal,
    abort: AbortSignal,
  ) {
    this.#deps = deps;
    this.held = held;
    this.endpoint = endpoint;
    this.#stop = stop;
    this.#abort = abort;
    this.#recoveriesSeen = endpoint.breaker.recoveries;
    this.done = this.#run();
  }

  /** When the oldest event that is known to wait happened, ms by Redis's clock. */
  get oldestMs(): number | undefined {
    return this.#batch?.oldestMs;
  }

  /** Just after what was delivered. */
  get position(): EventPosition | undefined {
    const after = this.#progress?.after;
    return typeof after === "number" ? undefined : after;
  }

  /** There may be news: events, a changed webhook, a receiver that is back, a stop. */
  poke(): void {
    this.#isPoked = true;
    this.#waiting.abort();
  }

  async #run(): Promise<void> {
    const { logger } = this.#deps;
    while (this.#isOn && !this.#stop.aborted && this.held.isOpen) {
      try {
        await this.#round();
      } catch (error) {
        if (this.#abort.aborted) break;
        const { partition } = this.held.keys;
        logger.warn(
          { webhook: this.endpoint.id, partition, reason: describeError(error) },
          "webhook: trying again",
        );
        await this.#wait(REDIS_RETRY_MS);
      }
    }
    await this.#leave();
  }

  async #round(): Promise<void> {
    const { clock, find } = this.#deps;
    this.#isPoked = false;
    const webhook = find(this.endpoint.id);
    if (webhook === undefined) return this.#end();
    if (webhook.paused) return void (this.#isOn = false);
    const progress = await this.#follow(webhook);
    if (progress === undefined) return;
    const { breaker } = this.endpoint;
    breaker.follow(webhook.era);
    if (breaker.recoveries !== this.#recoveriesSeen) {
      this.#recoveriesSeen = breaker.recoveries;
      this.#progress = { ...progress, nextAtMs: undefined };
    }
    // At most as long as a pause can be, because the clock may have been set back.
    const ownMs = Math.min((this.#progress?.nextAtMs ?? 0) - clock.wallMs(), this.#longestPauseMs());
    const waitMs = Math.max(ownMs, breaker.waitMs());
    if (waitMs > 0) return this.#wait(waitMs);
    const batch = await this.#nextBatch(webhook);
    if (batch === undefined) {
      if (this.#isOn) await this.#wait(IDLE_MS);
      return;
    }
    if (!this.held.isOpen || !breaker.begin()) return;
    await this.#attempt(webhook, batch);
  }

  #longestPauseMs(): number {
    return Math.max(this.#deps.retry.capMs, 60 * 60 * 1_000);
  }

  /** Adopts the progress in Redis and the webhook's requests. @returns undefined if the lane has ended */
  async #follow({ id, createdAtMs, era, replay }: WebhookRecord): Promise<WebhookProgress | undefined> {
    const { scripts } = this.#deps;
    const { keys, token } = this.held;
    this.#progress ??= await readWebhookProgress(scripts, keys, id);
    if (this.#progress === undefined) {
      const first = { after: createdAtMs, failures: 0, era, replayed: 0 };
      if (!this.#judge(await beginWebhookProgress(scripts, keys, token, id, first))) return undefined;
      this.#progress = first;
    }
    if (replay !== null && replay.number !== this.#progress.replayed) {
      const { after } = replay;
      const from = typeof after === "number" ? after : (after[keys.partition] ?? createdAtMs);
      const again = { after: from, failures: 0, era, replayed: replay.number };
      this.#batch = undefined;
      return (await this.#write(again)) ? again : undefined;
    }
    // Failures before a resumption, or at another address, no longer count. Recorded with the next write.
    if (era !== this.#progress.era) {
      this.#progress = {
        ...this.#progress,
        era,
        failures: 0,
        failingSinceMs: undefined,
        nextAtMs: undefined,
      };
    }
    return this.#progress;
  }

  /** @returns the next batch, already recorded; undefined if nothing waits or the lane has ended */
  async #nextBatch({ types }: WebhookRecord): Promise<Batch | undefined> {
    const { scripts, clock } = this.#deps;
    const wanted = types === null ? undefined : new Set<EventType>(types);
    while (this.#isOn && !this.#stop.aborted && this.#progress !== undefined) {
      const { after, open, gap = false } = this.#progress;
      const start = typeof after === "number" ? { fromMs: after } : after;
      const page = await readPartitionEvents(scripts, this.held.keys, start, { limit: PAGE, types: wanted });
      const same = open === undefined ? undefined : remakeBatch(page, open);
      if (same !== undefined) return (this.#batch = same);
      const isCut = gap || page.gap || (open?.gap ?? false);
      const batch = cutBatch(page, isCut, clock.wallMs());
      if (batch !== undefined) {
        this.#batch = batch;
        return (await this.#write({ ...this.#progress, open: batch.open, gap: isCut })) ? batch : undefined;
      }
      this.#batch = undefined;
      const isNews = isCut !== gap || open !== undefined;
      this.#isMoved ||= !isSamePlace(after, page.next);
      this.#progress = { ...this.#progress, after: page.next, open: undefined, gap: isCut };
      if (page.hasMore) continue;
      const isOld = this.#isMoved && clock.monotonicMs() - this.#writtenAtMs > KEEP_PLACE_MS;
      if (this.#isUnwritten || isNews || isOld) await this.#write(this.#progress);
      return undefined;
    }
    return undefined;
  }

  async #attempt(webhook: WebhookRecord, batch: Batch): Promise<void> {
    const { metrics, onRecovered } = this.#deps;
    const { sender, breaker, id } = this.endpoint;
    const startMs = this.#deps.clock.wallMs();
    let answer: SignedAnswer;
    try {
      answer = await postSigned(
        this.#deps,
        { sender, webhook, id: batch.open.id, body: batch.body },
        this.#abort,
      );
    } catch (error) {
      breaker.abandoned();
      throw error;
    }
    metrics.attempted(answer.outcome, answer.attempt.durationMs, batch.events);
    if (answer.outcome === "delivered") {
      const wasOpen = breaker.isOpen;
      breaker.succeeded();
      const { era = 0, replayed = 0 } = this.#progress ?? {};
      this.#progress = { after: batch.open.end, failures: 0, era, replayed };
      this.#batch = undefined;
      // Recorded with the next batch, or as soon as there is none.
      this.#isUnwritten = true;
      if (wasOpen) onRecovered(id);
      return;
    }
    breaker.failed(answer.retryAfterMs);
    await this.#fail(webhook, answer, startMs);
  }

  async #fail(
    webhook: WebhookRecord,
    { outcome, retryAfterMs }: SignedAnswer,
    startMs: number,
  ): Promise<void> {
    const { retry, clock, onGivenUp } = this.#deps;
    const progress = this.#progress;
    if (progress === undefined) return;
    const nowMs = clock.wallMs();
    const failingSinceMs = Math.min(progress.failingSinceMs ?? startMs, nowMs);
    const nextAtMs = nowMs + Math.max(retryAfterMs, backoffMs(progress.failures, retry));
    const failed = { ...progress, failures: progress.failures + 1, failingSinceMs, nextAtMs };
    if (!(await this.#write(failed))) return;
    if (outcome === "gone") await onGivenUp(webhook, "gone");
    else if (nowMs - failingSinceMs >= retry.giveUpAfterMs) await onGivenUp(webhook, "exhausted");
  }

  /** @returns whether it was recorded; otherwise the lane ends */
  async #write(progress: WebhookProgress): Promise<boolean> {
    const { keys, token } = this.held;
    const written = await stepWebhookProgress(this.#deps.scripts, keys, token, this.endpoint.id, progress);
    if (!this.#judge(written)) return false;
    this.#progress = progress;
    this.#isUnwritten = false;
    this.#isMoved = false;
    this.#writtenAtMs = this.#deps.clock.monotonicMs();
    return true;
  }

  #judge(written: ProgressWrite): boolean {
    if (written === "stale") this.#deps.onStale(this.held);
    // `left`: somebody has removed or started it; the next look shows which.
    if (written !== "written") this.#isOn = false;
    return written === "written";
  }

  /** Its webhook is gone. */
  async #end(): Promise<void> {
    const { keys, token } = this.held;
    await endWebhookProgress(this.#deps.scripts, keys, token, this.endpoint.id);
    this.#isOn = false;
  }

  /** Records what was delivered but not yet recorded, if the lease still stands. */
  async #leave(): Promise<void> {
    this.#batch = undefined;
    if (!this.#isUnwritten || this.#progress === undefined || !this.held.isHeld) return;
    const { keys, token } = this.held;
    try {
      await stepWebhookProgress(this.#deps.scripts, keys, token, this.endpoint.id, this.#progress);
    } catch {
      // Then its last batch is sent once more, under the same id.
    }
  }

  async #wait(ms: number): Promise<void> {
    if (this.#isPoked) return;
    this.#waiting = new AbortController();
    await pause(ms, this.#waiting.signal);
  }
}

function isSamePlace(one: EventPosition | number, other: EventPosition): boolean {
  return typeof one !== "number" && one.mark === other.mark && one.ms === other.ms && one.n === other.n;
}
