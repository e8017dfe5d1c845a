// push-node: estimates Redis's clock without asking each time.
// Guarantees: never this machine's own clock, whose difference would show up as latency. Off by at most half of the
// shortest recent round trip; undefined until Redis has answered once.
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { Redis } from "@petrel/shared/redis/connection/connect";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { readServerTimeMs } from "@petrel/shared/redis/connection/server-time";

export interface RedisClocksOptions {
  readonly redis: Redis;
  /** Each partition has its own: on a cluster their masters' clocks may differ. */
  readonly partitions: readonly PartitionKeys[];
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Offset {
  /** Redis's clock minus this process's monotonic one, ms. */
  readonly ms: number;
  readonly roundTripMs: number;
  readonly readAtMs: number;
}

const INTERVAL_MS = 10_000;
/** For this long a quick answer outweighs a slower, newer one. */
const TRUSTED_FOR_MS = 60_000;

export class RedisClocks {
  readonly #options: RedisClocksOptions;
  readonly #offsets = new Map<number, Offset>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: RedisClocksOptions) {
    this.#options = options;
  }

  /** Asks now, and then regularly. Resolves when Redis has answered, or failed to. */
  async start(): Promise<void> {
    this.#timer = setInterval(() => void this.read(), INTERVAL_MS);
    await this.read();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** @returns ms since 1970 by the clock of this partition's master */
  nowMs({ partition }: PartitionKeys): number | undefined {
    const offset = this.#offsets.get(partition);
    return offset === undefined ? undefined : this.#options.clock.monotonicMs() + offset.ms;
  }

  /** Asks every partition's master. */
  async read(): Promise<void> {
    const { partitions, logger } = this.#options;
    try {
      await Promise.all(partitions.map((keys) => this.#readOne(keys)));
    } catch (error) {
      logger.debug({ reason: describeError(error) }, "Redis' clock not read");
    }
  }

  async #readOne({ partition, due }: PartitionKeys): Promise<void> {
    const { redis, clock } = this.#options;
    const askedAtMs = clock.monotonicMs();
    const serverMs = await readServerTimeMs(redis, due);
    const readAtMs = clock.monotonicMs();
    const roundTripMs = readAtMs - askedAtMs;
    const known = this.#offsets.get(partition);
    const isBetter =
      known === undefined ||
      roundTripMs <= known.roundTripMs ||
      readAtMs - known.readAtMs > TRUSTED_FOR_MS ||
      // More than both errors together: the clock was set, or another server is the master now.
      Math.abs(serverMs - (askedAtMs + readAtMs) / 2 - known.ms) > roundTripMs + known.roundTripMs;
    if (!isBetter) return;
    // The answer is truncated to whole milliseconds.
    const ms = serverMs + 0.5 - (askedAtMs + readAtMs) / 2;
    this.#offsets.set(partition, { ms, roundTripMs, readAtMs });
  }
}
