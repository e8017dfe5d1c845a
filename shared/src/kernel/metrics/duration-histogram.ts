// kernel/metrics -> here: a histogram for the hot path.
// Guarantees: Prometheus reads the same as from the client library's histogram. An observation costs an addition or
// two; in the library it takes a third of a microsecond, mostly to look up the labels by name.
import type { Histogram, Registry } from "prom-client";

export interface DurationHistogramOptions {
  /** Must end in `_seconds`. */
  readonly name: string;
  readonly help: string;
  /** Upper bounds, ascending, seconds. */
  readonly bounds: readonly number[];
}

/** The observations of one set of labels. */
export class DurationSeries {
  readonly #bounds: readonly number[];
  /** Per bucket, not cumulative; the last counts what exceeds every bound. */
  readonly #counts: number[];
  #sum = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = Array.from({ length: bounds.length + 1 }, () => 0);
  }

  observe(seconds: number): void {
    const bounds = this.#bounds;
    let i = 0;
    while (i < bounds.length && seconds > (bounds[i] ?? 0)) i++;
    this.#counts[i] = (this.#counts[i] ?? 0) + 1;
    this.#sum += seconds;
  }

  get sum(): number {
    return this.#sum;
  }

  /** The count at or below each bound; the last is the total. */
  cumulated(): number[] {
    let all = 0;
    return this.#counts.map((count) => (all += count));
  }
}

interface Row {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

export class DurationHistogram<L extends string> {
  readonly name: string;
  readonly help: string;
  readonly type = "histogram";
  readonly #bounds: readonly number[];
  readonly #series: { readonly labels: Readonly<Record<L, string>>; readonly series: DurationSeries }[] = [];

  constructor(registry: Registry, { name, help, bounds }: DurationHistogramOptions) {
    this.name = name;
    this.help = help;
    this.#bounds = bounds;
    // Registers like any metric: the registry only uses a metric's name and its `get`.
    registry.registerMetric(this as unknown as Histogram);
  }

  /** Called once per set of labels. The observer keeps the result, so that no observation needs a lookup. */
  series(labels: Readonly<Record<L, string>>): DurationSeries {
    const series = new DurationSeries(this.#bounds);
    this.#series.push({ labels, series });
    return series;
  }

  /** Called by the registry. */
  get(): Promise<{ name: string; help: string; type: "histogram"; aggregator: "sum"; values: Row[] }> {
    const { name, help, type } = this;
    const values = this.#series.flatMap(({ labels, series }) => this.#rows(labels, series));
    return Promise.resolve({ name, help, type, aggregator: "sum", values });
  }

  #rows(labels: Readonly<Record<string, string>>, series: DurationSeries): Row[] {
    const cumulated = series.cumulated();
    const count = cumulated.at(-1) ?? 0;
    return [
      ...cumulated.map((value, i) => ({
        metricName: `${this.name}_bucket`,
        labels: { ...labels, le: this.#bounds[i] ?? "+Inf" },
        value,
      })),
      { metricName: `${this.name}_sum`, labels, value: series.sum },
      { metricName: `${this.name}_count`, labels, value: count },
    ];
  }
}
