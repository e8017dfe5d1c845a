// push-node/start-push-node -> here -> push-node/deliver/{measure-latency, trace-deliveries}: opens the observers of
// deliveries.
// Guarantees: if tracing is off, nothing of it runs.
import type { Registry } from "@petrel/shared/kernel/metrics/metrics";
import { NO_TRACING, type Tracing } from "@petrel/shared/kernel/tracing/tracing";
import type { RedisClocks } from "../node/redis-clocks.js";
import { bothOf, type DeliveryObserver } from "./delivery-observer.js";
import { createMeasureLatency } from "./measure-latency.js";
import { createTraceDeliveries } from "./trace-deliveries.js";

export interface ObserveOptions {
  readonly metrics: Registry;
  readonly clocks: Pick<RedisClocks, "nowMs">;
  readonly tracing: Tracing;
  readonly nodeId: string;
}

export interface ObserveDeliveries {
  readonly observer: DeliveryObserver;
  /** Ends open spans. */
  readonly stop: () => void;
}

export function observeDeliveries({ metrics, clocks, tracing, nodeId }: ObserveOptions): ObserveDeliveries {
  const measured = createMeasureLatency(metrics, clocks);
  if (tracing === NO_TRACING) return { observer: measured, stop: () => undefined };
  const traced = createTraceDeliveries({ tracing, nodeId });
  return { observer: bothOf(measured, traced), stop: traced.stop };
}
