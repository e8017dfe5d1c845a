// own-partitions -> here -> webhooks/webhook-lane: one lane for each webhook and partition owned here.
// Guarantees: lanes do not wait for each other, so a slow or dead receiver delays no other, and no hand-over. Without
// webhooks it costs one small query a second. A stop lets requests in progress end, for a moment.
import type { Clock } from "@petrel/shared/kernel/clock";
import { untilCommonTick, type CommonTicks } from "@petrel/shared/kernel/common-tick";
import { describeError } from "@petrel/shared/kernel/errors";
import { Loop } from "@petrel/shared/kernel/loop";
import { pause } from "@petrel/shared/kernel/pause";
import { countEvents } from "@petrel/shared/redis/webhooks/count-events";
import type { PausedReason, WebhookRecord } from "@petrel/shared/redis/webhooks/webhook-record";
import type { WebhooksStore } from "@petrel/shared/redis/webhooks/webhooks-store";
import type { HeldPartition } from "../own/held-partition.js";
import type { PartitionOwner } from "../own/own-partitions.js";
import { EndpointBreaker } from "./endpoint-breaker.js";
import type { WebhookSender } from "./sender/webhook-sender.js";
import type { WebhookDirectory } from "./webhook-directory.js";
import { type Endpoint, type LaneDeps, WebhookLane } from "./webhook-lane.js";
import type { WebhookReading } from "./webhook-metrics.js";

export interface WebhookDelivererOptions extends Omit<
  LaneDeps,
  "find" | "onStale" | "onGivenUp" | "onRecovered"
> {
  readonly owner: Pick<PartitionOwner, "open" | "lose">;
  readonly directory: WebhookDirectory;
  readonly store: Pick<WebhooksStore, "change">;
  /** Each endpoint has its own connections. */
  readonly openSender: () => WebhookSender;
  /** A webhook was given up and is now paused. */
  readonly onPaused: (webhook: WebhookRecord, reason: PausedReason) => Promise<void>;
  readonly clock: Clock;
  readonly ticks: Pick<CommonTicks, "pause">;
}

/** While there are lanes: how soon new events are noticed. */
const LOOK_AT_EVENTS_MS = 200;
const LOOK_AT_WEBHOOKS_MS = 1_000;
/** At a stop: how long requests in progress may take. */
const STOP_GRACE_MS = 2_000;

export class WebhookDeliverer {
  readonly #options: WebhookDelivererOptions;
  readonly #lanes = new Map<HeldPartition, Map<string, WebhookLane>>();
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #newest = new WeakMap<HeldPartition, string>();
  readonly #looking = new Set<HeldPartition>();
  readonly #loop: Loop;
  readonly #stopping = new AbortController();
  readonly #aborting = new AbortController();
  #lookAtMs = Number.NEGATIVE_INFINITY;
  /**
   * The version that the lanes know. The API reads too, so a read that finds nothing new may still be news to the
   * lanes.
   */
  #toldVersion = "";

  constructor(options: WebhookDelivererOptions) {
    this.#options = options;
    this.#loop = new Loop(() => this.#tick(), options.ticks);
  }

  start(): void {
    this.#loop.start();
  }

  /** Resolves once no request is in progress. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop.stop();
    for (const lane of this.#all()) lane.poke();
    const lanes = this.#all().map(({ done }) => done);
    const over = new AbortController();
    void Promise.all(lanes).then(() => over.abort());
    await pause(STOP_GRACE_MS, over.signal);
    this.#aborting.abort();
    await Promise.all(lanes);
    for (const { sender } of this.#endpoints.values()) sender.close();
  }

  /** The backlog of each webhook. */
  async read(): Promise<WebhookReading[]> {
    const { clock, scripts, directory } = this.#options;
    return Promise.all(
      directory.records.map(async ({ id }) => {
        const lanes = this.#all().filter(({ endpoint }) => endpoint.id === id);
        const waiting = lanes.filter(({ oldestMs }) => oldestMs !== undefined);
        const counts = waiting.map(async ({ held, position }) =>
          position === undefined ? 1 : await countEvents(scripts, held.keys, position).catch(() => 1),
        );
        const lagsMs = waiting.map(({ oldestMs = 0 }) => clock.wallMs() - oldestMs);
        return {
          id,
          lagSeconds: Math.max(0, ...lagsMs) / 1_000,
          lagEvents: (await Promise.all(counts)).reduce((sum, count) => sum + count, 0),
          isOpen: this.#endpoints.get(id)?.breaker.isOpen ?? false,
        };
      }),
    );
  }

  #all(): WebhookLane[] {
    return [...this.#lanes.values()].flatMap((lanes) => [...lanes.values()]);
  }

  async #tick(): Promise<number> {
    const { clock, owner, directory } = this.#options;
    const nowMs = clock.monotonicMs();
    if (nowMs >= this.#lookAtMs) {
      this.#lookAtMs = nowMs + untilCommonTick(LOOK_AT_WEBHOOKS_MS, nowMs);
      await this.#lookAtWebhooks();
    }
    if (this.#stopping.signal.aborted) return 0;
    for (const held of owner.open) this.#openLanes(held, directory.records);
    for (const [held, lanes] of this.#lanes) {
      if (lanes.size === 0) this.#lanes.delete(held);
      else if (held.isOpen) void this.#lookAtEvents(held, lanes);
    }
    const soonMs = this.#lanes.size > 0 ? LOOK_AT_EVENTS_MS : Number.POSITIVE_INFINITY;
    return Math.max(1, Math.min(soonMs, this.#lookAtMs - clock.monotonicMs()));
  }

  async #lookAtWebhooks(): Promise<void> {
    const { directory, logger } = this.#options;
    try {
      await directory.look();
    } catch (error) {
      logger.warn({ reason: describeError(error) }, "webhooks could not be read");
    }
    if (directory.version === this.#toldVersion) return;
    this.#toldVersion = directory.version;
    for (const lane of this.#all()) lane.poke();
    for (const [id, { sender }] of this.#endpoints) {
      if (directory.find(id) !== undefined) continue;
      this.#endpoints.delete(id);
      sender.close();
    }
  }

  #openLanes(held: HeldPartition, webhooks: readonly WebhookRecord[]): void {
    for (const { id, paused } of webhooks) {
      if (paused || this.#lanes.get(held)?.has(id) === true) continue;
      const lanes = this.#lanes.get(held) ?? new Map<string, WebhookLane>();
      this.#lanes.set(held, lanes);
      const deps = this.#laneDeps();
      const endpoint = this.#endpointOf(id);
      const lane = new WebhookLane(deps, held, endpoint, this.#stopping.signal, this.#aborting.signal);
      lanes.set(id, lane);
      void lane.done.then(() => lanes.delete(id));
    }
  }

  #endpointOf(id: string): Endpoint {
    const { openSender, clock } = this.#options;
    const known = this.#endpoints.get(id);
    if (known !== undefined) return known;
    const endpoint = { id, sender: openSender(), breaker: new EndpointBreaker(clock) };
    this.#endpoints.set(id, endpoint);
    return endpoint;
  }

  #laneDeps(): LaneDeps {
    const { directory, owner } = this.#options;
    return {
      ...this.#options,
      find: (id) => directory.find(id),
      onStale: (held) => owner.lose(held, "a webhook's step was refused"),
      onGivenUp: (webhook, reason) => this.#giveUp(webhook, reason),
      onRecovered: (id) => {
        for (const lane of this.#all()) if (lane.endpoint.id === id) lane.poke();
      },
    };
  }

  async #giveUp(webhook: WebhookRecord, pausedReason: PausedReason): Promise<void> {
    const { store, directory, logger, onPaused } = this.#options;
    const { id, url, era } = webhook;
    let isPausedHere = false;
    await store.change(id, (one) => {
      isPausedHere = !one.paused && one.url === url && one.era === era;
      return isPausedHere ? { ...one, paused: true, pausedReason } : undefined;
    });
    await directory.look();
    if (!isPausedHere) return;
    logger.error({ webhook: id, reason: pausedReason }, "webhook given up: paused until someone resumes it");
    await onPaused(webhook, pausedReason);
  }

  /** A partition that waits for its master does not delay the others. */
  async #lookAtEvents(held: HeldPartition, lanes: ReadonlyMap<string, WebhookLane>): Promise<void> {
    if (this.#looking.has(held)) return;
    this.#looking.add(held);
    try {
      const [entry] = await this.#options.scripts.redis.xrevrange(held.keys.events, "+", "-", "COUNT", 1);
      const newest = entry?.[0] ?? "";
      if (newest === this.#newest.get(held)) return;
      this.#newest.set(held, newest);
      for (const lane of lanes.values()) lane.poke();
    } catch {
      // The reading lanes meet the same fault and report it.
    } finally {
      this.#looking.delete(held);
    }
  }
}
