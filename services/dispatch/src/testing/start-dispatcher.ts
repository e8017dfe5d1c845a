// Tests only -> open-dispatcher: a dispatcher in this process, on connections of its own, wired as in production.
// Guarantees: `crash()` leaves Redis as a killed process would; a later `stop()` only cleans up this process.
import { systemClock } from "@petrel/shared/kernel/clock";
import { CommonTicks } from "@petrel/shared/kernel/common-tick";
import { createLifecycle } from "@petrel/shared/kernel/lifecycle/lifecycle";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { createRegistry, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import { NO_TRACING } from "@petrel/shared/kernel/tracing/tracing";
import type { EventType } from "@petrel/shared/protocol/events/event-types";
import { connectRedis } from "@petrel/shared/redis/connection/connect";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { EventWriting } from "@petrel/shared/redis/scripts/event-writing";
import { readScripts } from "@petrel/shared/redis/scripts/script-catalogue";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { createAtRestCipher } from "@petrel/shared/security/encrypt-at-rest";
import { readDispatchConfig, type DispatchConfig } from "../config.js";
import { openDispatcher } from "../open-dispatcher.js";
import type { PartitionOwner } from "../own/own-partitions.js";
import type { Webhooks } from "../webhooks/open-webhooks.js";
import type { RetryRules } from "../webhooks/webhook-lane.js";

export interface StartDispatcherOptions {
  readonly url: string;
  readonly dispatcherId: string;
  /** All of them, by number. */
  readonly partitions: readonly PartitionKeys[];
  readonly leaseMs?: number;
  readonly ackTimeoutMs?: number;
  readonly wakeIntervalMs?: number;
  readonly offlineSettleMs?: number;
  readonly unheardConfirmMs?: number;
  readonly fallbackCap?: number;
  readonly onHeldUp?: () => void;
  /** The events that it writes; none by default. */
  readonly events?: readonly EventType[];
  readonly webhookRetry?: RetryRules;
}

export interface TestDispatcher {
  readonly owner: PartitionOwner;
  readonly webhooks: Webhooks;
  readonly registry: Registry;
  /** The partitions it owns, ascending. */
  readonly owned: () => number[];
  /** Advances its monotonic clock, as if the process had been suspended for this long. */
  readonly passTime: (ms: number) => void;
  /** The value of a counter, by its labels. */
  readonly count: (name: string, labels?: Readonly<Record<string, string>>) => Promise<number>;
  readonly crash: () => void;
  readonly stop: () => Promise<void>;
}

/** Offers stay in their streams, where a test can see them. */
const TEST_SETTINGS = {
  dispatchRoles: ["route"],
  leaseMs: 600,
  wakeIntervalMs: 20,
  reconcileIntervalMs: 4,
  offlineSettleMs: 0,
  unheardConfirmMs: 100,
  // No device is swept, except by a test's own sweeper.
  deviceKeepDays: 36_500,
  // Tests' receivers listen on private addresses.
  webhookAllowPrivate: true,
} as const satisfies Partial<DispatchConfig>;

/** Shared by all dispatchers of a test: one opens what another has sealed. */
export const testCipher = createAtRestCipher(Buffer.alloc(32, 7));

const logger = createLogger({ service: "test", level: "silent" });

export async function startDispatcher(options: StartDispatcherOptions): Promise<TestDispatcher> {
  const { url, dispatcherId, partitions, onHeldUp, webhookRetry, events = [], ...settings } = options;
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
  const disconnect = (): void => {
    redis.disconnect();
    blocking.disconnect();
  };
  const registry = createRegistry("test");
  const lifecycle = createLifecycle({ logger, stopDeadlineMs: 60_000, exit: () => undefined });
  lifecycle.onStop("redis", disconnect);
  const scripts = new ScriptRunner(redis, readScripts(), new EventWriting(events, 100_000));
  const { owner, webhooks, start } = openDispatcher(
    {
      config: {
        ...readDispatchConfig({}),
        ...TEST_SETTINGS,
        events,
        partitions: partitions.length,
        ...settings,
      },
      service: {
        instance: dispatcherId,
        metrics: registry,
        clock,
        ticks: new CommonTicks(),
        logger,
        tracing: NO_TRACING,
      },
      links: { redis, blocking, scripts },
      audit: new AuditLog({ scripts, logger, maxEntries: 1_000, keepDays: 1 }),
      cipher: testCipher,
    },
    {
      ...(onHeldUp === undefined ? {} : { onHeldUp }),
      ...(webhookRetry === undefined ? {} : { webhookRetry }),
    },
  );
  start(lifecycle);
  return {
    owner,
    webhooks,
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
    crash: disconnect,
    stop: () => lifecycle.stop("the test's end"),
  };
}
