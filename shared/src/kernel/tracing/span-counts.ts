// open-tracing -> here: counts of exported and dropped spans, for /metrics.
// Guarantees: each ended span counts once, as exported or as dropped; counting costs an addition.
import { Counter, type Registry } from "../metrics/metrics.js";

const outcomes = ["exported", "dropped"] as const;

export class SpanCounts {
  exported = 0;
  /** The queue had no room for them, or the collector did not take them. */
  dropped = 0;

  register(registry: Registry): void {
    const read = (outcome: (typeof outcomes)[number]): number => this[outcome];
    registry.registerMetric(
      new Counter({
        name: "petrel_trace_spans_total",
        help: "Spans of sampled messages, by whether they were exported",
        labelNames: ["outcome"],
        registers: [],
        collect() {
          this.reset();
          for (const outcome of outcomes) this.inc({ outcome }, read(outcome));
        },
      }),
    );
  }
}
