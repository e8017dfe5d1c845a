// Bench: latencies, counted in buckets, so that millions cost no memory and several processes can be added up.
// Guarantees: a percentile is off by at most a hundredth of itself, or by 10 µs.

const GROWTH = Math.log(1.01);
const SMALLEST_US = 10;

/** Pairs of bucket and count. */
export type SparseHistogram = readonly (readonly [bucket: number, count: number])[];

export class LatencyHistogram {
  private readonly counts = new Map<number, number>();
  private total = 0;

  static of(parts: readonly SparseHistogram[]): LatencyHistogram {
    const sum = new LatencyHistogram();
    for (const part of parts) for (const [bucket, count] of part) sum.add(bucket, count);
    return sum;
  }

  record(us: number): void {
    this.add(us <= SMALLEST_US ? 0 : Math.ceil(Math.log(us / SMALLEST_US) / GROWTH), 1);
  }

  /** @returns milliseconds, or NaN of nothing */
  percentileMs(share: number): number {
    let left = Math.ceil(this.total * share);
    for (const [bucket, count] of this.sparse()) {
      left -= count;
      if (left <= 0) return (SMALLEST_US * Math.exp(bucket * GROWTH)) / 1000;
    }
    return Number.NaN;
  }

  sparse(): SparseHistogram {
    return [...this.counts].sort(([a], [b]) => a - b);
  }

  private add(bucket: number, count: number): void {
    this.counts.set(bucket, (this.counts.get(bucket) ?? 0) + count);
    this.total += count;
  }
}
