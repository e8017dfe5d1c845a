// Tests only: a dispatcher in this process, on connections of its own.
// Guarantees: `crash()` leaves Redis as a killed process would; `stop()` after it only tidies up here.
import { systemClock } from "@petrel/shared/kernel/clock";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { createRegistry, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import { onServerReady } from "@petrel/shared/redis/connection/cluster-nodes";
import { connectRedis } from "@petrel/shared/redis/connection/connect";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { AbsenceWatch } from "../own/absence-watch.js";
import { createDispatchMetrics } from "../dispatch-metrics.js";
import { PartitionDispatcher } from "../own/dispatch-partitions.js";
import { PartitionOwner } from "../own/own-partitions.js";
import type { FallbackChannel } from "../channels/fallback-channel.js";
import { createFallbackMetrics } from "../fallback/fallback-metrics.js";
import { FallbackWorkers, type FallbackWorkersOptions } from "../fallback/fallback-workers.js";
import { ReadyReader } from "../hand-over/read-ready.js";
import { Reconciler } from "../wake/reconcile-partitions.js";
import { UserWaker } from "../wake/wake-users.js";

export interface StartDispatcherOptions {
  readonly url: string;
  readonly dispatcherId: string;
  readonly partitions: readonly PartitionKeys[];
  readonly leaseMs?: number;
  readonly ackTimeoutMs?: number;
  readonly wakeIntervalMs?: number;
  readonly settleMs?: number;
  readonly confirmMs?: number;
  readonly overdueMs?: number;
  readonly fallbackCap?: number;
  readonly onHeldUp?: () => void;
  /** Fallback channels; without any given there are no fallback workers either. */
  readonly channels?: readonly FallbackChannel[];
  readonly fallback?: Partial<FallbackWorkersOptions>;
}

export interface TestDispatcher {
  readonly owner: PartitionOwner;
  readonly registry: Registry;
  /** The partitions it owns, ascending. */
  readonly owned: () => number[];
  /** Moves its monotonic clock on, as if the process had been paused so long. */
  readonly passTime: (ms: number) => void;
  /** The value of a counter, by its labels. */
  readonly count: (name: string, labels?: Readonly<Record<string, string>>) => Promise<number>;
  readonly crash: () => void;
  readonly stop: () => Promise<void>;
}

const logger = createLogger({ service: "test", level: "silent" });

export async function startDispatcher(options: StartDispatcherOptions): Promise<TestDispatcher> {
  const { url, dispatcherId, partitions, leaseMs = 600, ackTimeoutMs = 10_000 } = options;
  const { wakeIntervalMs: intervalMs = 20 } = options;
  let passedMs = 0;
  const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + passedMs };
  const redis = await connectRedis({ url, role: dispatcherId, logger });
  const blocking = await connectRedis({
    url,
    role: `${dispatcherId}-reader`,
    logger,
    commandTimeoutMs: 0,
    silenceTimeoutMs: 10_000,
  });
  const registry = createRegistry("test");
  const metrics = createDispatchMetrics(registry);
  const scripts = new ScriptRunner(redis);
  const owner = new PartitionOwner({
    scripts,
    partitions,
    dispatcherId,
    leaseMs,
    clock,
    logger,
    onLeaseLost: metrics.leaseLost,
  });
  const reader = new ReadyReader({ blocking, commands: redis, logger });
  const { settleMs = 0, confirmMs = 100, overdueMs = 60_000 } = options;
  const absence = new AbsenceWatch({ clock, settleMs, confirmMs });
  onServerReady(redis, () => absence.linkIsBack());
  const { channels } = options;
  const fallback =
    channels &&
    new FallbackWorkers({
      scripts,
      partitions,
      channels,
      workerId: dispatcherId,
      metrics: createFallbackMetrics(
        registry,
        channels.map((channel) => channel.name),
      ),
      logger,
      clock,
      concurrency: 16,
      claimMs: 60_000,
      stopDeadlineMs: 2_000,
      retry: { baseMs: 20, capMs: 100 },
      maxAttempts: 5,
      deadLettersCap: 1_000,
      pollMs: 20,
      ...options.fallback,
    });
  const onOffered = (): void => fallback?.poke();
  const { fallbackCap, onHeldUp } = options;
  const work = { scripts, owner, metrics, absence, fallbackCap, onOffered, onHeldUp, logger };
  const dispatcher = new PartitionDispatcher({ ...work, reader, clock });
  const waker = new UserWaker({ ...work, ackTimeoutMs, intervalMs, clock });
  const reconciler = new Reconciler({ ...work, overdueMs, intervalMs });
  owner.start();
  dispatcher.start();
  waker.start();
  reconciler.start();
  fallback?.start();
  return {
    owner,
    registry,
    owned: () => owner.open.map(({ keys }) => keys.partition).sort((a, b) => a - b),
    passTime: (ms) => void (passedMs += ms),
    count: async (name, labels = {}) => {
      const metric = await registry.getSingleMetric(name)?.get();
      const found = metric?.values.find((value) =>
        Object.entries(labels).every(([label, word]) => value.labels[label] === word),
      );
      return found?.value ?? 0;
    },
    crash: () => {
      redis.disconnect();
      blocking.disconnect();
    },
    stop: async () => {
      await Promise.all([dispatcher.stop(), waker.stop(), reconciler.stop(), fallback?.stop()]);
      await owner.stop();
      redis.disconnect();
      blocking.disconnect();
    },
  };
}
