// metrics -> here: how late the event loop runs its timers, without waking an idle process for it.
// Guarantees: two samples a second; a scrape sees the samples of the last minute, however often anyone scrapes. The
// client library's own monitor wakes a process a hundred times a second, and resets at each scrape.
import { Gauge, type Registry } from "prom-client";

const LOOK_EVERY_MS = 500;
/** One minute of samples. */
const MAX_LOOKS = 120;

/** Under the client library's names. */
const SERIES: readonly (readonly [
  name: string,
  help: string,
  valueOf: (sorted: readonly number[]) => number,
])[] = [
  ["nodejs_eventloop_lag_min_seconds", "The least delay of the event loop", (all) => all[0] ?? 0],
  ["nodejs_eventloop_lag_max_seconds", "The greatest delay of the event loop", (all) => all.at(-1) ?? 0],
  ["nodejs_eventloop_lag_mean_seconds", "The mean delay of the event loop", meanOf],
  ["nodejs_eventloop_lag_stddev_seconds", "The standard deviation of these delays", deviationOf],
  ["nodejs_eventloop_lag_p50_seconds", "The median delay of the event loop", (all) => percentile(all, 0.5)],
  [
    "nodejs_eventloop_lag_p90_seconds",
    "One sample in ten found this delay or more",
    (all) => percentile(all, 0.9),
  ],
  [
    "nodejs_eventloop_lag_p99_seconds",
    "One sample in a hundred found this delay or more",
    (all) => percentile(all, 0.99),
  ],
];

/** Replaces the registry's series of these names. Its timer keeps no process alive. */
export function addEventLoopLag(registry: Registry, nowMs: () => number = () => performance.now()): void {
  const lags: number[] = [];
  let at = 0;
  const waitForLook = (): void => {
    const ms = nowMs();
    // Every other sample falls on the common tick, so it wakes no idle process by itself.
    const dueAtMs = (Math.floor(ms / LOOK_EVERY_MS) + 1) * LOOK_EVERY_MS;
    setTimeout(() => {
      lags[at] = Math.max(0, nowMs() - dueAtMs);
      at = (at + 1) % MAX_LOOKS;
      waitForLook();
    }, dueAtMs - ms).unref();
  };
  waitForLook();
  for (const [name, help, valueOf] of SERIES) {
    replaceGauge(registry, {
      name,
      help: `${help}, of two samples a second in the last minute`,
      read: () => valueOf(lags.toSorted((a, b) => a - b)) / 1000,
    });
  }
  replaceGauge(registry, {
    name: "nodejs_eventloop_lag_seconds",
    help: "The delay of the event loop in the last sample",
    read: () => (lags.at(at - 1) ?? 0) / 1000,
  });
}

interface Reading {
  readonly name: string;
  readonly help: string;
  readonly read: () => number;
}

function replaceGauge(registry: Registry, { name, help, read }: Reading): void {
  registry.removeSingleMetric(name);
  registry.registerMetric(
    new Gauge({
      name,
      help,
      registers: [],
      collect() {
        this.set(read());
      },
    }),
  );
}

function meanOf(all: readonly number[]): number {
  return all.reduce((sum, one) => sum + one, 0) / Math.max(1, all.length);
}

function deviationOf(all: readonly number[]): number {
  const mean = meanOf(all);
  return Math.sqrt(meanOf(all.map((one) => (one - mean) ** 2)));
}

/** By nearest rank. */
function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
}
