// accept/accept.lua, dispatch/route-messages -> here -> push-node/receive-envelopes: a node's channels on a Redis
// Cluster.
// Guarantees: each channel is subscribed to at its slot's master, over a link of our own to each master, and again
// wherever the slot goes. A link that has died in silence is noticed. Every return of a subscription is reported.
import { backoffMs } from "../../kernel/backoff.js";
import { describeError, PetrelError } from "../../kernel/errors.js";
import type { Logger } from "../../kernel/logging/logging.js";
import { forgetSlots, masterAddress } from "../connection/cluster-nodes.js";
import type { Cluster, SingleRedis } from "../connection/connect.js";
import { isAnswer } from "../connection/is-answer.js";
import { addressOf } from "../connection/open-cluster.js";

export interface ClusterSubscriptionOptions {
  /** A connection for this alone: its map of slots, and how to reach its nodes. */
  readonly cluster: Cluster;
  readonly channels: readonly string[];
  readonly logger: Logger;
  readonly onText: (text: string) => void;
  /** A lost subscription is back, so something may have been missed. */
  readonly onResubscribed: () => void;
}

const PROBE_EVERY_MS = 2_000;
const START_DEADLINE_MS = 10_000;
const RETRY = { baseMs: 50, capMs: 1_000 } as const;
const RETRY_LEAST_MS = 20;

/**
 * ioredis subscribes on clusters too (`shardedSubscribers`), but does not report when a subscription was lost and is
 * back, and does not probe quiet links.
 */
export class ClusterSubscription {
  readonly #options: ClusterSubscriptionOptions;
  /** By `host:port`. */
  readonly #links = new Map<string, SingleRedis>();
  /** channel -> `host:port` of the master where it is subscribed to */
  readonly #places = new Map<string, string>();
  readonly #probe: NodeJS.Timeout;
  #isSettling = false;
  #changed = false;
  #missed = false;
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  #stopped = false;

  private constructor(options: ClusterSubscriptionOptions) {
    this.#options = options;
    this.#probe = setInterval(() => this.#probeLinks(), PROBE_EVERY_MS);
  }

  /**
   * Resolves when every channel is subscribed to.
   * @throws PetrelError PETREL_UNAVAILABLE where that takes too long
   */
  static async start(options: ClusterSubscriptionOptions): Promise<ClusterSubscription> {
    const subscription = new ClusterSubscription(options);
    const end = performance.now() + START_DEADLINE_MS;
    for (let attempt = 0; ; attempt++) {
      const error = await subscription.#subscribeWhereMissing();
      if (error === undefined) break;
      if (performance.now() > end) {
        await subscription.stop();
        throw new PetrelError("PETREL_UNAVAILABLE", "The channels could not be subscribed to.", {
          cause: error,
        });
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_LEAST_MS + backoffMs(attempt, RETRY)));
    }
    options.cluster.on("refresh", () => subscription.#settle());
    subscription.#settle();
    return subscription;
  }

  /** Whether texts of every channel come now. */
  isActive(): boolean {
    return !this.#stopped && this.#places.size === this.#options.channels.length;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#probe);
    clearTimeout(this.#retry);
    for (const link of this.#links.values()) link.disconnect();
    const { cluster } = this.#options;
    await cluster.quit().catch(() => cluster.disconnect());
  }

  /** Runs again as long as something changes meanwhile; what fails is tried again later. */
  #settle(): void {
    this.#changed = true;
    if (!this.#isSettling) void this.#settleAll();
  }

  async #settleAll(): Promise<void> {
    this.#isSettling = true;
    while (this.#changed && !this.#stopped) {
      this.#changed = false;
      clearTimeout(this.#retry);
      const error = await this.#subscribeWhereMissing();
      if (this.#stopped) return;
      if (error !== undefined) {
        this.#options.logger.warn({ reason: describeError(error) }, "not subscribed again yet");
        const waitMs = RETRY_LEAST_MS + backoffMs(this.#failures++, RETRY);
        this.#retry = setTimeout(() => this.#settle(), waitMs);
      } else if (this.#missed && !this.#changed) {
        this.#missed = false;
        this.#failures = 0;
        this.#options.onResubscribed();
      }
    }
    this.#isSettling = false;
  }

  /** @returns the first error, if any */
  async #subscribeWhereMissing(): Promise<unknown> {
    const { cluster, channels } = this.#options;
    const results = await Promise.allSettled(
      channels
        .map((channel) => ({ channel, from: this.#places.get(channel), to: masterAddress(cluster, channel) }))
        .filter(({ from, to }) => from === undefined || from !== to)
        .map(({ channel, from, to }) => this.#move(channel, from, to)),
    );
    const inUse = new Set(this.#places.values());
    for (const [address, link] of this.#links) if (!inUse.has(address)) link.disconnect();
    const failed = results.find((result) => result.status === "rejected");
    if (failed === undefined) return undefined;
    forgetSlots(cluster);
    return failed.reason;
  }

  async #move(channel: string, from: string | undefined, to: string | undefined): Promise<void> {
    if (from !== undefined) {
      this.#lose(channel);
      await this.#links
        .get(from)
        ?.sunsubscribe(channel)
        .catch(() => undefined);
    }
    if (to === undefined) throw new Error(`no master for ${channel}`);
    const link = this.#links.get(to) ?? this.#open(to);
    if (link.status === "wait") link.connect().catch(() => undefined);
    await untilReady(link);
    await link.ssubscribe(channel);
    if (link.status !== "ready" || this.#links.get(to) !== link)
      throw new Error(`the link to ${to} was lost`);
    this.#places.set(channel, to);
  }

  #open(address: string): SingleRedis {
    const { cluster, onText } = this.#options;
    const known = cluster.nodes("all").find((node) => addressOf(node) === address);
    if (known === undefined) throw new Error(`no node ${address}`);
    const link = known.duplicate({
      readOnly: false,
      lazyConnect: true,
      enableOfflineQueue: false,
      // A broken link is replaced here, wherever its slots are by then.
      retryStrategy: null,
    });
    this.#links.set(address, link);
    link.on("smessage", (_channel: string, text: string) => onText(text));
    // A failure shows in the call that waits for it, or at the close.
    link.on("error", () => undefined);
    // The server unsubscribes listeners of a slot that leaves it: https://redis.io/docs/latest/commands/ssubscribe/
    link.on("moved", () => link.disconnect());
    link.on("close", () => {
      if (this.#links.get(address) === link) this.#links.delete(address);
      for (const [channel, place] of this.#places) if (place === address) this.#lose(channel);
      if (this.#stopped) return;
      forgetSlots(cluster);
      this.#settle();
    });
    return link;
  }

  #lose(channel: string): void {
    this.#places.delete(channel);
    this.#missed = true;
  }

  /** A subscriber only listens: without this probe, a link that was cut would look like silence. */
  #probeLinks(): void {
    for (const [address, link] of this.#links) {
      if (link.status !== "ready") continue;
      link.ping().catch((error: unknown) => {
        if (isAnswer(error) || this.#stopped || this.#links.get(address) !== link) return;
        const reason = describeError(error);
        this.#options.logger.warn({ node: address, reason }, "subscription does not answer: opening it anew");
        link.disconnect();
      });
    }
  }
}

/** @throws where the link ends before it is ready */
function untilReady(link: SingleRedis): Promise<void> {
  if (link.status === "ready") return Promise.resolve();
  return new Promise((resolve, reject) => {
    const settle = (error: Error | undefined): void => {
      link.off("ready", onReady);
      link.off("close", onClose);
      if (error === undefined) resolve();
      else reject(error);
    };
    const onReady = (): void => settle(undefined);
    const onClose = (): void => settle(new Error(`no link to ${addressOf(link)}`));
    link.on("ready", onReady);
    link.on("close", onClose);
  });
}
