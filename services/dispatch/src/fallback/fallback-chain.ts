// wake/offer.lua -> here -> fallback-workers: the fallback channels, one after the other.
// Guarantees: each channel has its own queue, workers and slots for sends, so one that hangs or is down delays no
// other. A message is with one channel at a time; the next is asked if that one cannot reach the user.
// Messages enter through one common queue, from where they are passed on to the first channel that may reach their
// user. With a single channel there is nothing to pass on: its workers serve the common queue themselves.
import { ConfigError } from "@petrel/shared/kernel/config";
import { fallbackChannels } from "@petrel/shared/protocol/fallback/fallback-channels";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { FallbackWorkers, type FallbackWorkersOptions } from "./fallback-workers.js";

export type FallbackChainOptions = Omit<
  FallbackWorkersOptions,
  "channel" | "queue" | "onPassed" | "roomBehind"
>;

/** For queues of channels that are no longer configured: nothing new arrives there. */
const LEFT_BEHIND_POLL_MS = 3_000;

export class FallbackChain {
  readonly #entrance: FallbackWorkers;
  /** Channel -> the queue that messages are passed on to. */
  readonly #queues = new Map<string, FallbackWorkers>();
  readonly #leftBehind: readonly FallbackWorkers[];
  /** The workers that send, by channel. */
  readonly #senders: ReadonlyMap<string, FallbackWorkers>;

  /** @throws ConfigError if entries would be taken over while they are still being sent */
  constructor(options: FallbackChainOptions) {
    const { channels, claimMs, retriesCap } = options;
    const longestMs = Math.max(0, ...channels.map(({ longestSendMs }) => longestSendMs));
    if (claimMs < 2 * longestMs) {
      throw new ConfigError(
        `FALLBACK_CLAIM_MS must be at least ${2 * longestMs}, twice as long as sending may take (${longestMs} ms)`,
      );
    }
    const [only, second] = channels;
    const sole = second === undefined ? only : undefined;
    const open = (more: Partial<FallbackWorkersOptions>): FallbackWorkers =>
      new FallbackWorkers({
        ...options,
        onPassed: (channel, keys, priority) => this.#queues.get(channel)?.noteEntry(keys, priority),
        ...more,
      });
    if (sole === undefined) {
      for (const { name } of channels) this.#queues.set(name, open({ queue: name, channel: name }));
    }
    const roomBehind = (keys: PartitionKeys): number =>
      retriesCap - Math.max(0, ...[...this.#queues.values()].map((workers) => workers.waitingIn(keys)));
    this.#entrance = open(sole === undefined ? { roomBehind } : { channel: sole.name });
    this.#senders = sole === undefined ? this.#queues : new Map([[sole.name, this.#entrance]]);
    this.#leftBehind = fallbackChannels
      .filter((name) => !this.#queues.has(name))
      .map((name) =>
        open({
          queue: name,
          channel: sole?.name,
          pollMs: Math.max(LEFT_BEHIND_POLL_MS, options.pollMs ?? 0),
        }),
      );
  }

  get #all(): FallbackWorkers[] {
    return [this.#entrance, ...this.#queues.values(), ...this.#leftBehind];
  }

  /** Entries that this process holds. */
  get held(): number {
    return this.#all.reduce((sum, { held }) => sum + held, 0);
  }

  /** How many messages this channel is sending now. */
  sendingBy(channel: string): number {
    return this.#senders.get(channel)?.held ?? 0;
  }

  start(): void {
    for (const workers of this.#all) workers.start();
  }

  /** A stream has a new entry: look at once. */
  poke(): void {
    this.#entrance.poke();
  }

  /** A paused channel may send again: look at once. */
  pokeAll(): void {
    for (const workers of this.#all) workers.poke();
  }

  /** Resolves once nothing is in progress. */
  async stop(): Promise<void> {
    await Promise.all(this.#all.map((workers) => workers.stop()));
  }
}
