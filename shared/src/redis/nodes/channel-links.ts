// redis/accept/accept-batch, redis/topics/topic-publisher -> here -> redis/nodes/node-subscription,
// push-node/topics/open-topics: subscriptions to channels that come and go, on one server or on a Redis Cluster.
// Guarantees: each channel is subscribed to at its slot's master, and again wherever the slot goes. One channel's
// subscribe and unsubscribe never overtake each other. Every loss and every return of a subscription is reported.
import { backoffMs } from "../../kernel/backoff.js";
import type { CommonTicks } from "../../kernel/common-tick.js";
import { describeError } from "../../kernel/errors.js";
import { inSlices } from "../../kernel/in-slices.js";
import type { Logger } from "../../kernel/logging/logging.js";
import { forgetSlots, isCluster, slotOf } from "../connection/cluster-nodes.js";
import type { Redis, SingleRedis } from "../connection/connect.js";
import { isAnswer } from "../connection/is-answer.js";
import { MasterLinks } from "./master-links.js";

export interface ChannelLinksOptions {
  /** A connection for this alone. On a cluster it provides the slot map and the way to reach the nodes. */
  readonly redis: Redis;
  readonly logger: Logger;
  readonly onText: (text: string, channel: string) => void;
  /** Texts of these channels arrive from now on. Earlier ones may have been missed. */
  readonly onSubscribed: (channels: readonly string[]) => void;
  /** Texts of this channel do not arrive for now. */
  readonly onLost?: (channel: string) => void;
  /** When quiet links are probed; at its own moments by default. */
  readonly ticks?: Pick<CommonTicks, "every"> | undefined;
}

interface Channel {
  readonly name: string;
  isWanted: boolean;
  /** Where it is subscribed, see master-links. */
  place: string | undefined;
  /** A command for it is in progress; the next one waits. */
  isBusy: boolean;
  /** Where it could not be subscribed the last time. */
  failedAt: string | undefined;
}

const RETRY = { baseMs: 50, capMs: 1_000 } as const;
const RETRY_LEAST_MS = 20;
const MAX_PER_COMMAND = 200;

/**
 * ioredis can subscribe on clusters too (`shardedSubscribers`), but does not report lost and restored subscriptions,
 * and does not probe quiet links.
 */
export class ChannelLinks {
  readonly #options: ChannelLinksOptions;
  readonly #channels = new Map<string, Channel>();
  readonly #links: MasterLinks;
  #toSettle = new Set<Channel>();
  #isScheduled = false;
  readonly #failed = new Set<Channel>();
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: ChannelLinksOptions) {
    this.#options = options;
    const { redis, logger, onText, ticks } = options;
    if (isCluster(redis)) redis.on("refresh", () => this.#settleAll());
    this.#links = new MasterLinks({
      redis,
      logger,
      onText,
      onClosed: (place) => this.#linkClosed(place),
      ...(ticks === undefined ? {} : { ticks }),
    });
  }

  /** Starts receiving this channel's texts, from some moment on: see `onSubscribed`. */
  listen(name: string): void {
    let channel = this.#channels.get(name);
    if (channel === undefined) {
      channel = { name, isWanted: true, place: undefined, isBusy: false, failedAt: undefined };
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
    clearTimeout(this.#retry);
    await this.#links.stop();
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
      const to = channel.isWanted ? this.#links.placeOf(channel.name) : undefined;
      if (channel.place !== undefined && channel.place !== to) {
        put(leaves, this.#groupOf(channel.place, channel), channel);
        this.#lose(channel);
      } else if (channel.place === undefined && to !== undefined) {
        // Its retry is due. A slot map that still says so brings it no earlier: it is read after each failure, and would
        // be the next one's cause.
        if (this.#failed.has(channel) && channel.failedAt === to) continue;
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

  /** Channels that share a command: on a cluster, those of one slot. */
  #groupOf(place: string, { name }: Channel): string {
    return isCluster(this.#options.redis) ? `${place} ${slotOf(name)}` : place;
  }

  async #join(place: string, channels: readonly Channel[]): Promise<void> {
    for (const channel of channels) channel.isBusy = true;
    const names = channels.map(({ name }) => name);
    let link: SingleRedis | undefined;
    try {
      link = this.#links.open(place);
      if (link.status !== "ready") await this.#links.untilReady(link);
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
      if (!isAnswer(error) && link?.status === "ready") this.#links.leave(link);
      for (const channel of channels) channel.failedAt = place;
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
      if (!isAnswer(error) && link?.status === "ready") this.#links.leave(link);
    }
    this.#release(channels);
    this.#links.closeUnused(() => this.#placesInUse());
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
    logger.warn(
      { reason: describeError(error), channels: channels.length },
      "not subscribed yet: trying again",
    );
    forgetSlots(redis);
    const waitMs = RETRY_LEAST_MS + backoffMs(this.#failures++, RETRY);
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      const again = [...this.#failed];
      this.#failed.clear();
      for (const channel of again) this.#settleSoon(channel);
    }, waitMs);
  }

  #placesInUse(): Set<string | undefined> {
    const all = [...this.#channels.values()];
    return new Set(all.map(({ place, isBusy, name }) => (isBusy ? this.#links.placeOf(name) : place)));
  }

  #linkClosed(place: string): void {
    for (const channel of this.#channels.values()) {
      if (channel.place !== place) continue;
      this.#lose(channel);
      this.#settleSoon(channel);
    }
    if (!this.#stopped) forgetSlots(this.#options.redis);
  }

  #lose(channel: Channel): void {
    channel.place = undefined;
    if (!this.#stopped) this.#options.onLost?.(channel.name);
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
