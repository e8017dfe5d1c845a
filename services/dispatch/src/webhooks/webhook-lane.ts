// webhooks/deliver-webhooks -> here -> webhooks/{lane-progress, post-signed}: one webhook's events of one partition, batch after batch.
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
import type { PausedReason, WebhookRecord } from "@petrel/shared/redis/webhooks/webhook-record";
import type { HeldPartition } from "../own/held-partition.js";
import { type Batch, cutBatch, remakeBatch } from "./cut-batch.js";
import type { EndpointBreaker } from "./endpoint-breaker.js";
import { LaneProgress } from "./lane-progress.js";
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
const REDIS_RETRY_MS = 1_000;

export class WebhookLane {
  readonly held: HeldPartition;
  readonly endpoint: Endpoint;
  /** Resolves when the lane has ended; never rejects. */
  readonly done: Promise<void>;
  readonly #deps: LaneDeps;
  readonly #stop: AbortSignal;
  readonly #abort: AbortSignal;
  readonly #progress: LaneProgress;
  #batch: Batch | undefined;
  #isEnded = false;
  #isPoked = false;
  #waiting = new AbortController();
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
    this.#progress = new LaneProgress(deps, held, endpoint.id);
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
    const after = this.#progress.current?.after;
    return typeof after === "number" ? undefined : after;
  }

  /** There may be news: events, a changed webhook, a receiver that is back, a stop. */
  poke(): void {
    this.#isPoked = true;
    this.#waiting.abort();
  }

  get #isOn(): boolean {
    return !this.#isEnded && !this.#progress.isOver;
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
    this.#batch = undefined;
    await this.#progress.leave();
  }

  async #round(): Promise<void> {
    const { clock, find } = this.#deps;
    this.#isPoked = false;
    const webhook = find(this.endpoint.id);
    if (webhook === undefined) return this.#progress.end();
    if (webhook.paused) return void (this.#isEnded = true);
    const goesOn = await this.#progress.follow(webhook, () => (this.#batch = undefined));
    if (!goesOn) return;
    const { breaker } = this.endpoint;
    breaker.follow(webhook.era);
    if (breaker.recoveries !== this.#recoveriesSeen) {
      this.#recoveriesSeen = breaker.recoveries;
      this.#progress.retryNow();
    }
    // At most as long as a pause can be, because the clock may have been set back.
    const ownMs = Math.min((this.#progress.current?.nextAtMs ?? 0) - clock.wallMs(), this.#longestPauseMs());
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

  /** @returns the next batch, already recorded; undefined if nothing waits or the lane has ended */
  async #nextBatch({ types }: WebhookRecord): Promise<Batch | undefined> {
    const { scripts, clock } = this.#deps;
    const wanted = types === null ? undefined : new Set<EventType>(types);
    while (this.#isOn && !this.#stop.aborted) {
      const progress = this.#progress.current;
      if (progress === undefined) return undefined;
      const { after, open, gap = false } = progress;
      const start = typeof after === "number" ? { fromMs: after } : after;
      const page = await readPartitionEvents(scripts, this.held.keys, start, { limit: PAGE, types: wanted });
      const same = open === undefined ? undefined : remakeBatch(page, open);
      if (same !== undefined) return (this.#batch = same);
      const isCut = gap || page.gap || (open?.gap ?? false);
      const batch = cutBatch(page, isCut, clock.wallMs());
      if (batch !== undefined) {
        this.#batch = batch;
        return (await this.#progress.write({ ...progress, open: batch.open, gap: isCut }))
          ? batch
          : undefined;
      }
      this.#batch = undefined;
      const isNews = this.#progress.passed(page.next, isCut);
      if (page.hasMore) continue;
      await this.#progress.keep(isNews);
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
      this.#progress.delivered(batch.open.end);
      this.#batch = undefined;
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
    const progress = this.#progress.current;
    if (progress === undefined) return;
    const nowMs = clock.wallMs();
    const failingSinceMs = Math.min(progress.failingSinceMs ?? startMs, nowMs);
    const nextAtMs = nowMs + Math.max(retryAfterMs, backoffMs(progress.failures, retry));
    const failed = { ...progress, failures: progress.failures + 1, failingSinceMs, nextAtMs };
    if (!(await this.#progress.write(failed))) return;
    if (outcome === "gone") await onGivenUp(webhook, "gone");
    else if (nowMs - failingSinceMs >= retry.giveUpAfterMs) await onGivenUp(webhook, "exhausted");
  }

  async #wait(ms: number): Promise<void> {
    if (this.#isPoked) return;
    this.#waiting = new AbortController();
    await pause(ms, this.#waiting.signal);
  }
}
