// connect -> here: what the sentinels publish about a failover; each link to the master that they watch listens to it.
// Guarantees: the link leaves the old master before its successor is promoted, as soon as one sentinel names that
// successor, whatever the other sentinels still answer. An abandoned failover leads back. A link to a sentinel that
// died silently is detected and reopened.
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

/** Published by the sentinel that leads the failover: which replica it will promote, and that it was promoted. */
const CHOSEN = "+selected-slave";
const PROMOTED = "+promoted-slave";
/** Each sentinel publishes this once it knows of the switch; the others up to some seconds later. */
const SWITCHED = "+switch-master";
const GIVEN_UP = "-failover-abort-slave-timeout";
const CHANNELS = [CHOSEN, PROMOTED, SWITCHED, GIVEN_UP];

const PROBE_EVERY_MS = 5_000;
const ANSWER_MS = 2_000;
/** By then each reachable sentinel answers with the new master by itself. */
const BELIEVED_MS = 10_000;

interface Successor {
  readonly address: string;
  /** Already promoted, not only selected. */
  readonly isSure: boolean;
  readonly untilMs: number;
}

/** What one link knows about failovers. */
export class SentinelSwitches {
  readonly #options: SentinelSwitchesOptions;
  /** A master's `host:port` -> its successor's */
  readonly #successors = new Map<string, Successor>();
  readonly #links: SingleRedis[] = [];
  #probe: NodeJS.Timeout | undefined;
  #redis: SingleRedis | undefined;
  /** The address that the link was last opened to: `host:port`, as the sentinels write it. */
  #at: string | undefined;

  constructor(options: SentinelSwitchesOptions) {
    this.#options = options;
  }

  /** Used as ioredis's `natMap`: called with each address that a sentinel gives, the link's own address last. */
  readonly resolve = (answered: string): RedisAddress => {
    const at = this.#follow(answered);
    this.#at = at;
    const colon = at.lastIndexOf(":");
    return { host: at.slice(0, colon), port: Number(at.slice(colon + 1)) };
  };

  /** Watches from its first connection to its end. */
  watch(redis: SingleRedis): void {
    this.#redis = redis;
    redis.once("ready", () => this.#listen());
    // News of a failover may arrive between a sentinel's answer and the link that it led to.
    redis.on("ready", () => this.#leave());
    redis.on("end", () => {
      clearInterval(this.#probe);
      for (const link of this.#links.splice(0)) link.disconnect();
    });
  }

  #follow(address: string): string {
    let at = address;
    // Terminates, because a new successor never has a successor of its own.
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
    // A subscriber only listens: without this probe, a broken link would look like silence.
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
      if (isHeard) logger.warn({ role, sentinel, reason: describeError(error) }, "sentinel: connection lost");
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
    // A link that only reads would never notice that its replica was not promoted.
    if (this.#at === chosen.address) this.#reconnect("the failover was given up");
  }

  /** The leading sentinel may have died before it published the end of the failover. */
  #giveUpUnsure(nowMs: number): void {
    for (const [master, { untilMs }] of this.#successors) if (nowMs > untilMs) this.#giveUp(master);
  }

  #leave(): void {
    if (this.#at !== undefined && this.#follow(this.#at) !== this.#at) this.#reconnect("another one follows");
  }

  /**
   * Never while the link is looking for the master, because ioredis would end the link for good. The address that it
   * then finds goes through `resolve`, or is checked when the link is ready.
   */
  #reconnect(reason: string): void {
    const { role, logger } = this.#options;
    if (this.#redis?.status !== "ready") return;
    logger.info({ role, master: this.#at, reason }, "redis: leaving this master");
    this.#redis.disconnect(true);
  }
}
