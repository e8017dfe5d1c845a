// channel-links -> here: one link of our own to each master that channels are subscribed at.
// Guarantees: a link that died silently is detected. On a single server the link recovers by itself; on a Redis Cluster
// a broken one is replaced by whoever still needs it.
import { CommonTicks } from "../../kernel/common-tick.js";
import { describeError } from "../../kernel/errors.js";
import type { Logger } from "../../kernel/logging/logging.js";
import { isCluster, masterAddress, masterOf } from "../connection/cluster-nodes.js";
import type { Redis, SingleRedis } from "../connection/connect.js";
import { isAnswer } from "../connection/is-answer.js";
import { addressOf } from "../connection/open-cluster.js";

export interface MasterLinksOptions {
  /** A connection for this alone. On a cluster it provides the slot map and the way to reach the nodes. */
  readonly redis: Redis;
  readonly logger: Logger;
  readonly onText: (text: string, channel: string) => void;
  /** The server has dropped all subscriptions of this link. */
  readonly onClosed: (place: string) => void;
  readonly ticks?: Pick<CommonTicks, "every">;
}

const PROBE_EVERY_MS = 2_000;
/** The place of every channel on a single server, whose link recovers by itself. */
const ONLY_PLACE = "";

export class MasterLinks {
  readonly #options: MasterLinksOptions;
  /** By place: `host:port` on a Cluster. */
  readonly #links = new Map<string, SingleRedis>();
  readonly #readiness = new WeakMap<SingleRedis, Promise<void>>();
  readonly #stopProbes: () => void;
  #stopped = false;

  constructor(options: MasterLinksOptions) {
    this.#options = options;
    const { redis, ticks = new CommonTicks() } = options;
    if (!isCluster(redis)) {
      const link = masterOf(redis, "");
      // Whoever needs a channel subscribes again, and only for what is still wanted.
      link.options.autoResubscribe = false;
      this.#use(ONLY_PLACE, link);
    }
    this.#stopProbes = ticks.every(PROBE_EVERY_MS, () => this.#probeLinks());
  }

  /** Where this channel is subscribed to; undefined while its slot has no known master. */
  placeOf(channel: string): string | undefined {
    const { redis } = this.#options;
    return isCluster(redis) ? masterAddress(redis, channel) : ONLY_PLACE;
  }

  get(place: string): SingleRedis | undefined {
    return this.#links.get(place);
  }

  /** @returns the link, which need not be ready. @throws if there is no such master */
  open(place: string): SingleRedis {
    const link = this.#links.get(place) ?? this.#openTo(place);
    if (link.status === "wait") link.connect().catch(() => undefined);
    return link;
  }

  /** Once for all waiters: a lost link has as many of them as it had channels. */
  untilReady(link: SingleRedis): Promise<void> {
    const known = this.#readiness.get(link);
    if (known !== undefined) return known;
    const ready = untilReady(link).finally(() => this.#readiness.delete(link));
    this.#readiness.set(link, ready);
    return ready;
  }

  /** Dropping the link makes the server unsubscribe it. */
  leave(link: SingleRedis): void {
    link.disconnect(!isCluster(this.#options.redis));
  }

  /** Masters come and go; unused links must not pile up. @param inUse the places; asked only on a cluster */
  closeUnused(inUse: () => ReadonlySet<string | undefined>): void {
    if (!isCluster(this.#options.redis)) return;
    const places = inUse();
    for (const [place, link] of this.#links) if (!places.has(place)) link.disconnect();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#stopProbes();
    const { redis } = this.#options;
    if (isCluster(redis)) for (const link of this.#links.values()) link.disconnect();
    await redis.quit().catch(() => redis.disconnect());
  }

  #openTo(address: string): SingleRedis {
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
    const { onText, onClosed } = this.#options;
    this.#links.set(place, link);
    link.on("smessage", (channel: string, text: string) => onText(text, channel));
    link.on("close", () => {
      if (place !== ONLY_PLACE && this.#links.get(place) === link) this.#links.delete(place);
      onClosed(place);
    });
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
          "subscription does not answer: reopening it",
        );
        this.leave(link);
      });
    }
  }
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
