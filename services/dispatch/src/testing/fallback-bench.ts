// Tests only: fallback workers on a Redis of their own, and messages for them.
// Guarantees: `stopWorkers()` stops what was started since the last call; `close()` stops the Redis.
import { systemClock } from "@petrel/shared/kernel/clock";
import { CommonTicks } from "@petrel/shared/kernel/common-tick";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
import { NO_TRACING } from "@petrel/shared/kernel/tracing/tracing";
import type { MessageToAccept } from "@petrel/shared/redis/accept/accept-batch";
import { priorities } from "@petrel/shared/protocol/messages/stored-message";
import { connectRedis } from "@petrel/shared/redis/connection/connect";
import { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { DEFAULT_RECORD_KEEP_MS } from "@petrel/shared/redis/inbox/keep-records";
import { readAttempts, readMessage } from "@petrel/shared/redis/inbox/read-message";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import type { FallbackChannel } from "../channels/fallback-channel.js";
import { createFallbackMetrics } from "../fallback/fallback-metrics.js";
import { FallbackChain, type FallbackChainOptions } from "../fallback/fallback-chain.js";
import { enterFallback } from "./enter-fallback.js";

const logger = createLogger({ service: "test", level: "silent" });

export interface BenchWorkers {
  readonly workers: FallbackChain;
  readonly count: (name: string, labels?: Readonly<Record<string, string>>) => Promise<number>;
  /** Leaves Redis as a killed process would. */
  readonly crash: () => void;
}

export class FallbackBench {
  readonly store: OpenStore;
  readonly #channels = new Set<string>();
  readonly #ends: (() => Promise<void>)[] = [];

  private constructor(store: OpenStore) {
    this.store = store;
  }

  static async open(): Promise<FallbackBench> {
    return new FallbackBench(await openStore());
  }

  /** Of the first partition. */
  get keys(): PartitionKeys {
    return this.store.keys;
  }

  async start(
    channels: readonly FallbackChannel[],
    more: Partial<FallbackChainOptions> = {},
  ): Promise<BenchWorkers> {
    const { url } = this.store.server;
    for (const { name } of channels) this.#channels.add(name);
    const workerId = more.workerId ?? "w1";
    const redis = await connectRedis({ url, role: workerId, logger, commandTimeoutMs: 500 });
    const registry = createRegistry("test");
    const scripts = new ScriptRunner(redis);
    const workers = new FallbackChain({
      ticks: new CommonTicks(),
      scripts,
      partitions: this.store.partitions,
      devices: new DevicesStore(scripts, this.store.partitions),
      channels,
      workerId,
      metrics: createFallbackMetrics(
        registry,
        channels.map(({ name }) => name),
      ),
      logger,
      clock: systemClock,
      concurrency: 16,
      claimMs: 60_000,
      stopDeadlineMs: 300,
      retry: { baseMs: 10, capMs: 50 },
      maxAttempts: 4,
      retriesCap: 100_000,
      deadLettersCap: 100,
      recordKeepMs: DEFAULT_RECORD_KEEP_MS,
      tracing: NO_TRACING,
      pollMs: 10,
      ...more,
    });
    workers.start();
    this.onClose(async () => {
      await workers.stop();
      redis.disconnect();
    });
    return {
      workers,
      crash: () => redis.disconnect(),
      count: async (name, labels = {}) => {
        const metric = await registry.getSingleMetric(name)?.get();
        const found = metric?.values.filter((value) =>
          Object.entries(labels).every(([label, word]) => value.labels[label] === word),
        );
        return (found ?? []).reduce((sum, { value }) => sum + value, 0);
      },
    };
  }

  readonly enter = (parts: Partial<MessageToAccept> = {}) => enterFallback(this.store, parts);
  readonly stateOf = async (id: string) => (await readMessage(this.store.scripts, this.keys, id))?.state;
  readonly attemptsOf = (id: string) => readAttempts(this.store.redis, this.keys, id);

  /** Whether nothing is left of any entry in streams, retries and pending lists. */
  readonly isSettled = async (): Promise<boolean> => {
    const { redis } = this.store;
    const lengths = await Promise.all(
      [undefined, ...this.#channels].flatMap((channel) => [
        ...priorities.map((priority) => redis.xlen(this.keys.fallback(priority, channel))),
        redis.zcard(this.keys.retriesOf(channel)),
      ]),
    );
    return lengths.every((length) => length === 0);
  };

  onClose(end: () => Promise<void>): void {
    this.#ends.push(end);
  }

  /** Stops the last one first. */
  async stopWorkers(): Promise<void> {
    for (const end of this.#ends.splice(0).reverse()) await end();
  }

  clear(): Promise<void> {
    return this.store.clear();
  }

  close(): Promise<void> {
    return this.store.close();
  }
}
