// collect/event-routes, collect/event-stream -> here: how many events readers got, and how many readers there are.
// Guarantees: counters only grow; an event that is read twice counts twice.
import { Counter, Gauge, Histogram, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import type { EventItem } from "@petrel/shared/protocol/events/event-item";

export class EventCounts {
  readonly #read = new Counter({
    name: "petrel_events_read_total",
    help: "Events returned to readers of GET /v1/events, by type",
    labelNames: ["type"],
    registers: [],
  });
  readonly #gaps = new Counter({
    name: "petrel_events_gaps_total",
    help: "Readers of GET /v1/events who were told of a gap",
    registers: [],
  });
  readonly #readers = new Gauge({
    name: "petrel_event_readers",
    help: "Requests for events that are waiting or streaming now",
    labelNames: ["kind"],
    registers: [],
  });
  readonly #lag = new Histogram({
    name: "petrel_event_read_lag_seconds",
    help: "From an event to the reader that waited for it",
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60],
    registers: [],
  });
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    for (const kind of ["poll", "stream"]) this.#readers.set({ kind }, 0);
  }

  register(registry: Registry): void {
    registry.registerMetric(this.#read);
    registry.registerMetric(this.#gaps);
    registry.registerMetric(this.#readers);
    registry.registerMetric(this.#lag);
  }

  /** @param hasWaited the reader was there before the events were */
  given(items: readonly EventItem[], gap: boolean, hasWaited: boolean): void {
    for (const { type, at } of items) {
      this.#read.inc({ type });
      if (hasWaited) this.#lag.observe(Math.max(0, this.#nowMs() - Date.parse(at)) / 1_000);
    }
    if (gap) this.#gaps.inc();
  }

  /** @returns a function to call when it is over */
  reads(kind: "poll" | "stream"): () => void {
    this.#readers.inc({ kind });
    return () => this.#readers.dec({ kind });
  }
}
