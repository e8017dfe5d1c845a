// redis/accept/accept-batch, redis/topics/topic-publisher -> here -> redis/nodes/node-subscription,
// push-node/topics/open-topics: subscriptions to channels that come and go, on one server or on a Redis Cluster.
// Guarantees: each channel is subscribed to at its slot's master, over a link of our own to each master, and again
// wherever the slot goes. One channel's subscribe and unsubscribe never overtake each other. A link that died silently
// is detected. Every loss and every return of a subscription is reported.
import { backoffMs } from "../../kernel/backoff.js";
import { describeError } from "../../kernel/errors.js";
import { inSlices } from "../../kernel/in-slices.js";
import type { Logger } from "../../kernel/logging/logging.js";
import { forgetSlots, isCluster, masterAddress, masterOf, slotOf } from "../connection/cluster-nodes.js";
import type { Redis, SingleRedis } from "../connection/connect.js";
import { isAnswer } from "../connection/is-answer.js";
import { addressOf } from "../connection/open-cluster.js";

export interface ChannelLinksOptions {
  /** A connection for this alone. On a cluster it provides the slot map and the way to reach the nodes. */
  readonly redis: Redis;
  readonly logger: Logger;
  readonly onText: (text: string, channel: string) => void;
  /** Texts of these channels arrive from now on. Earlier ones may have been missed. */
  readonly onSubscribed: (channels: readonly string[]) => void;
  /** Texts of this channel do not arrive for now. */
  readonly onLost?: (channel: string) => void;
}

interface Channel {
  readonly name: string;
  isWanted: boolean;
  /** Where it is subscribed: a key of `#links`. */
  place: string | undefined;
  /** A command for it is in progress; the next one waits. */
  isBusy: boolean;
}

const PROBE_EVERY_MS = 2_000;
const RETRY = { baseMs: 50, capMs: 1_000 } as const;
const RETRY_LEAST_MS = 20;
const MAX_PER_COMMAND = 200;
/** The place of every channel on a single server, whose link recovers by itself. */
const ONLY_PLACE = "";

/**
 * ioredis can subscribe on clusters too (`shardedSubscribers`), but does not report lost and restored subscriptions,
 * and does not probe quiet links.
 */
export class ChannelLinks {
  readonly #options: ChannelLinksOptions;
  readonly #channels = new Map<string, Channel>();
  /** By `host:port` on a Cluster. */
  readonly #links = new Map<string, SingleRedis>();
  readonly #readiness = new WeakMap<SingleRedis, Promise<void>>();
  readonly #probe: NodeJS.Timeout;
  #toSettle = new Set<Channel>();
  #isScheduled = false;
  readonly #failed = new Set<Channel>();
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: ChannelLinksOptions) {
    this.#options = options;
    const { redis } = options;
    if (isCluster(redis)) redis.on("refresh", () => this.#settleAll());
    else {
      const link = masterOf(redis, "");
      // Resubscribing happens here, and only for what is still wanted.
      link.options.autoResubscribe = false;
      this.#use(ONLY_PLACE, link);
    }
    this.#probe = setInterval(() => this.#probeLinks(), PROBE_EVERY_MS);
  }

  /** Starts receiving this channel's texts, from some moment on: see `onSubscribed`. */
  listen(name: string): void {
    let channel = this.#channels.get(name);
    if (channel === undefined) {
      channel = { name, isWanted: true, place: undefined, isBusy: false };
      this.#channels.set(name, channel);
    }
    channel.isWanted = true;
    this.#settleSoon(channel);
  }

  /** Stops receiving this channel's texts; a few may still arrive. */
  ignore(name: string): void {
    const channel = this.#channels.get(name);
    if (channel === undefined) return;
    channel.isWanted = false;
    this.#settleSoon(channel);
  }

  /** Whether this channel's texts arrive now. */
  isActive(name: string): boolean {
    const channel = this.#channels.get(name);
    return !this.#stopped && channel?.isWanted === true && channel.place !== undefined;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#probe);
    clearTimeout(this.#retry);
    const { redis } = this.#options;
    if (isCluster(redis)) for (const link of this.#links.values()) link.disconnect();
    await redis.quit().catch(() => redis.disconnect());
  }

  #settleAll(): void {
    for (const channel of this.#channels.values()) this.#settleSoon(channel);
  }

  #settleSoon(channel: Channel): void {
    this.#toSettle.add(channel);
    if (this.#isScheduled || this.#stopped) return;
    this.#isScheduled = true;
    setImmediate(() => this.#settle());
  }

  /** One command for all channels of a slot that changed in this turn. */
  #settle(): void {
    this.#isScheduled = false;
    if (this.#stopped) return;
    const channels = this.#toSettle;
    this.#toSettle = new Set();
    const joins = new Map<string, Channel[]>();
    const leaves = new Map<string, Channel[]>();
    for (const channel of channels) {
      // It is handled again when its command has ended.
      if (channel.isBusy) continue;
      const to = channel.isWanted ? this.#placeOf(channel.name) : undefined;
      if (channel.place !== undefined && channel.place !== to) {
        put(leaves, this.#groupOf(channel.place, channel), channel);
        this.#lose(channel);
      } else if (channel.place === undefined && to !== undefined) {
        put(joins, this.#groupOf(to, channel), channel);
      } else if (channel.place === undefined) {
        if (channel.isWanted) this.#tryLater([channel], new Error(`no master for ${channel.name}`));
        else this.#channels.delete(channel.name);
      }
    }
    for (const [group, all] of leaves) {
      for (const some of inSlices(all, MAX_PER_COMMAND)) void this.#leave(placeOfGroup(group), some);
    }
    for (const [group, all] of joins) {
      for (const some of inSlices(all, MAX_PER_COMMAND)) void this.#join(placeOfGroup(group), some);
    }
  }

  #placeOf(name: string): string | undefined {
    const { redis } = this.#options;
    return isCluster(redis) ? masterAddress(redis, name) : ONLY_PLACE;
  }

  /** Channels that share a command: on a cluster, those of one slot. */
  #groupOf(place: string, { name }: Channel): string {
    return isCluster(this.#options.redis) ? `${place} ${slotOf(name)}` : place;
  }

  async #join(place: string, channels: readonly Channel[]): Promise<void> {
    for (const channel of channels) channel.isBusy = true;
    const names = channels.map(({ name }) => name);
    let link: SingleRedis | undefined;
    try {
      link = this.#links.get(place) ?? this.#open(place);
      if (link.status === "wait") link.connect().catch(() => undefined);
      if (link.status !== "ready") await this.#untilReady(link);
      await link.ssubscribe(...names);
      if (link.status !== "ready" || this.#links.get(place) !== link)
        throw new Error(`the link ${place} was lost`);
      for (const channel of channels) {
        channel.place = place;
        this.#failed.delete(channel);
      }
      if (this.#failed.size === 0) this.#failures = 0;
      if (!this.#stopped) this.#options.onSubscribed(names);
    } catch (error) {
      // It may have subscribed nevertheless: only a new link certainly has not.
      if (!isAnswer(error) && link?.status === "ready") this.#leaveLink(link);
      this.#tryLater(channels, error);
    }
    this.#release(channels);
  }

  async #leave(place: string, channels: readonly Channel[]): Promise<void> {
    for (const channel of channels) channel.isBusy = true;
    const link = this.#links.get(place);
    try {
      if (link?.status === "ready") await link.sunsubscribe(...channels.map(({ name }) => name));
    } catch (error) {
      if (!isAnswer(error) && link?.status === "ready") this.#leaveLink(link);
    }
    this.#release(channels);
    this.#closeUnused();
  }

  #release(channels: readonly Channel[]): void {
    for (const channel of channels) {
      channel.isBusy = false;
      if (!this.#failed.has(channel)) this.#settleSoon(channel);
    }
  }

  #tryLater(channels: readonly Channel[], error: unknown): void {
    if (this.#stopped) return;
    for (const channel of channels) this.#failed.add(channel);
    if (this.#retry !== undefined) return;
    const { redis, logger } = this.#options;
    logger.warn({ reason: describeError(error), channels: channels.length }, "not subscribed yet");
    forgetSlots(redis);
    const waitMs = RETRY_LEAST_MS + backoffMs(this.#failures++, RETRY);
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      const again = [...this.#failed];
      this.#failed.clear();
      for (const channel of again) this.#settleSoon(channel);
    }, waitMs);
  }

  #open(address: string): SingleRedis {
    const { redis } = this.#options;
    const nodes = isCluster(redis) ? redis.nodes("all") : [];
    const known = nodes.find((node) => addressOf(node) === address);
    if (known === undefined) throw new Error(`no node ${address}`);
    const link = known.duplicate({
      readOnly: false,
      lazyConnect: true,
      enableOfflineQueue: false,
      // A broken link is replaced here, wherever its slots are by then.
      retryStrategy: null,
    });
    // A failure shows in the call that waits for the link, or at its close.
    link.on("error", () => undefined);
    // The server unsubscribes listeners of a slot that leaves it: https://redis.io/docs/latest/commands/ssubscribe/
    link.on("moved", () => link.disconnect());
    this.#use(address, link);
    return link;
  }

  #use(place: string, link: SingleRedis): void {
    const { redis, onText } = this.#options;
    this.#links.set(place, link);
    link.on("smessage", (channel: string, text: string) => onText(text, channel));
    link.on("close", () => {
      if (place !== ONLY_PLACE && this.#links.get(place) === link) this.#links.delete(place);
      for (const channel of this.#channels.values()) {
        if (channel.place !== place) continue;
        this.#lose(channel);
        this.#settleSoon(channel);
      }
      if (!this.#stopped) forgetSlots(redis);
    });
  }

  /** Dropping the link makes the server unsubscribe it. */
  #leaveLink(link: SingleRedis): void {
    link.disconnect(!isCluster(this.#options.redis));
  }

  /** Masters come and go; unused links must not pile up. */
  #closeUnused(): void {
    if (!isCluster(this.#options.redis)) return;
    const inUse = new Set<string | undefined>();
    for (const { place, isBusy, name } of this.#channels.values())
      inUse.add(isBusy ? this.#placeOf(name) : place);
    for (const [address, link] of this.#links) if (!inUse.has(address)) link.disconnect();
  }

  #lose(channel: Channel): void {
    channel.place = undefined;
    if (!this.#stopped) this.#options.onLost?.(channel.name);
  }

  /** Once for all waiters: a lost link has as many of them as it had channels. */
  #untilReady(link: SingleRedis): Promise<void> {
    const known = this.#readiness.get(link);
    if (known !== undefined) return known;
    const ready = untilReady(link).finally(() => this.#readiness.delete(link));
    this.#readiness.set(link, ready);
    return ready;
  }

  /** A subscriber only listens: without this probe, a broken link would look like silence. */
  #probeLinks(): void {
    for (const [place, link] of this.#links) {
      if (link.status !== "ready") continue;
      link.ping().catch((error: unknown) => {
        if (isAnswer(error) || this.#stopped || this.#links.get(place) !== link || link.status !== "ready")
          return;
        this.#options.logger.warn(
          { node: place, reason: describeError(error) },
          "subscription does not answer: opening it anew",
        );
        this.#leaveLink(link);
      });
    }
  }
}

function put(groups: Map<string, Channel[]>, group: string, channel: Channel): void {
  const known = groups.get(group);
  if (known === undefined) groups.set(group, [channel]);
  else known.push(channel);
}

function placeOfGroup(group: string): string {
  return group.split(" ", 1)[0] ?? "";
}

/** @throws if the link ends before it is ready */
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
    const onClose = (): void => settle(new Error("no link"));
    link.on("ready", onReady);
    link.on("close", onClose);
  });
}
