// connect -> here: what the sentinels publish of a failover, heard by each link to the master that they watch.
// Guarantees: the old master is left before its successor is promoted, as soon as one sentinel says which that will be,
// and whatever the other sentinels still answer; a failover that is given up leads back; a link to a sentinel that is
// silently dead is noticed and opened anew.
import { Redis as SingleRedis } from "ioredis";
import { backoffMs } from "../../kernel/backoff.js";
import { describeError } from "../../kernel/errors.js";
import type { Logger } from "../../kernel/logging/logging.js";
import { isAnswer } from "./is-answer.js";
import { followSentinelAccess } from "./redis-access.js";
import type { RedisAddress, RedisTarget } from "./redis-target.js";

export interface SentinelSwitchesOptions {
  readonly target: Extract<RedisTarget, { readonly kind: "sentinel" }>;
  readonly role: string;
  readonly logger: Logger;
}

/** Said first, by the sentinel that leads the failover: which replica is about to be promoted, and that it is. */
const CHOSEN = "+selected-slave";
const PROMOTED = "+promoted-slave";
/** Said by each sentinel when it knows of it, the others up to some seconds later. */
const SWITCHED = "+switch-master";
const GIVEN_UP = "-failover-abort-slave-timeout";
const CHANNELS = [CHOSEN, PROMOTED, SWITCHED, GIVEN_UP];

const PROBE_EVERY_MS = 5_000;
const ANSWER_MS = 2_000;
/** By then each sentinel that can be reached answers by itself with the new master. */
const BELIEVED_MS = 10_000;

interface Successor {
  readonly address: string;
  /** Promoted, not only chosen. */
  readonly isSure: boolean;
  readonly untilMs: number;
}

/** What one link knows. */
export class SentinelSwitches {
  readonly #options: SentinelSwitchesOptions;
  /** A master's `host:port` -> the one that follows it */
  readonly #successors = new Map<string, Successor>();
  readonly #links: SingleRedis[] = [];
  #probe: NodeJS.Timeout | undefined;
  #redis: SingleRedis | undefined;
  /** Where the link was last opened to: `host:port`, as the sentinels name it. */
  #at: string | undefined;

  constructor(options: SentinelSwitchesOptions) {
    this.#options = options;
  }

  /** Asked by ioredis, as its `natMap`, about each address that a sentinel gives it; a link's own comes last. */
  readonly resolve = (answered: string): RedisAddress => {
    const at = this.#follow(answered);
    this.#at = at;
    const colon = at.lastIndexOf(":");
    return { host: at.slice(0, colon), port: Number(at.slice(colon + 1)) };
  };

  /** From its first connection to its end. */
  watch(redis: SingleRedis): void {
    this.#redis = redis;
    redis.once("ready", () => this.#listen());
    // What was heard between the answer of a sentinel and the link it led to.
    redis.on("ready", () => this.#leave());
    redis.on("end", () => {
      clearInterval(this.#probe);
      for (const link of this.#links.splice(0)) link.disconnect();
    });
  }

  #follow(address: string): string {
    let at = address;
    // Ends: whoever follows has no successor of its own when it is written.
    for (let next = this.#successors.get(at); next !== undefined; next = this.#successors.get(at)) {
      if (performance.now() > next.untilMs) {
        this.#successors.delete(at);
        break;
      }
      at = next.address;
    }
    return at;
  }

  #listen(): void {
    const { target } = this.#options;
    for (const sentinel of target.sentinels) this.#open(sentinel);
    // A subscriber only listens: without this, a link cut without a word would look like silence.
    this.#probe = setInterval(() => {
      for (const link of this.#links) {
        if (link.status === "ready") {
          link.ping().catch((error: unknown) => {
            if (!isAnswer(error)) link.disconnect(true);
          });
        }
      }
      this.#giveUpUnsure(performance.now());
    }, PROBE_EVERY_MS);
  }

  #open({ host, port }: RedisAddress): void {
    const { target, role, logger } = this.#options;
    const link = new SingleRedis({
      host,
      port,
      lazyConnect: true,
      protocol: 2,
      enableReadyCheck: false,
      enableOfflineQueue: false,
      autoResubscribe: false,
      connectTimeout: 5_000,
      commandTimeout: ANSWER_MS,
      retryStrategy: (attempt) => 100 + backoffMs(attempt, { baseMs: 100, capMs: 2_000 }),
    });
    followSentinelAccess(link.options, target.access, logger);
    this.#links.push(link);
    const sentinel = `${host}:${port}`;
    let isHeard = true;
    const lose = (error: unknown): void => {
      if (isHeard)
        logger.warn({ role, sentinel, reason: describeError(error) }, "sentinel: not heard any more");
      isHeard = false;
    };
    link.on("error", lose);
    link.on("message", (channel: string, text: string) => this.#hear(channel, text));
    link.on("ready", () => {
      link.subscribe(...CHANNELS).then(
        () => (isHeard = true),
        (error: unknown) => {
          lose(error);
          link.disconnect(true);
        },
      );
    });
    link.connect().catch(() => undefined);
  }

  #hear(channel: string, text: string): void {
    const words = text.split(" ");
    const { masterName } = this.#options.target;
    if (channel === SWITCHED) {
      const [name, oldHost, oldPort, newHost, newPort] = words;
      if (name === masterName) this.#note(`${oldHost}:${oldPort}`, `${newHost}:${newPort}`, true);
    } else if (channel === GIVEN_UP) {
      const [, name, host, port] = words;
      if (name === masterName) this.#giveUp(`${host}:${port}`);
    } else {
      // slave HOST:PORT HOST PORT @ NAME MASTERHOST MASTERPORT
      const [, , newHost, newPort, , name, oldHost, oldPort] = words;
      if (name === masterName)
        this.#note(`${oldHost}:${oldPort}`, `${newHost}:${newPort}`, channel === PROMOTED);
    }
  }

  #note(from: string, to: string, isSure: boolean): void {
    if (from === to) return;
    this.#successors.set(from, { address: to, isSure, untilMs: performance.now() + BELIEVED_MS });
    this.#successors.delete(to);
    this.#leave();
  }

  #giveUp(master: string): void {
    const chosen = this.#successors.get(master);
    if (chosen === undefined || chosen.isSure) return;
    this.#successors.delete(master);
    // Where reads only are sent, the replica that was not promoted would never say so.
    if (this.#at === chosen.address) this.#reconnect("the failover was given up");
  }

  /** The sentinel that led may have died before it said how it ended. */
  #giveUpUnsure(nowMs: number): void {
    for (const [master, { untilMs }] of this.#successors) if (nowMs > untilMs) this.#giveUp(master);
  }

  #leave(): void {
    if (this.#at !== undefined && this.#follow(this.#at) !== this.#at) this.#reconnect("another one follows");
  }

  /**
   * Never while it looks for the master: ioredis would take that for the end of the link. What it finds then has been
   * asked about in `resolve`, or is looked at when it is ready.
   */
  #reconnect(reason: string): void {
    const { role, logger } = this.#options;
    if (this.#redis?.status !== "ready") return;
    logger.info({ role, master: this.#at, reason }, "redis: leaving this master");
    this.#redis.disconnect(true);
  }
}
