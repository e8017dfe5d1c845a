// Tests percentiles out of buckets.
import { expect, test } from "vitest";
import { LatencyHistogram } from "./latency-histogram.js";

test("percentiles are accurate to one percent, over several processes", () => {
  const [one, two] = [new LatencyHistogram(), new LatencyHistogram()];
  for (let ms = 1; ms <= 1_000; ms++) (ms % 3 === 0 ? one : two).record(ms * 1_000);
  const both = LatencyHistogram.of([one.sparse(), two.sparse()]);
  for (const share of [0.01, 0.5, 0.99, 1]) {
    expect(both.percentileMs(share)).toBeGreaterThanOrEqual(share * 1_000);
    expect(both.percentileMs(share)).toBeLessThanOrEqual(share * 1_000 * 1.011);
  }
  expect(new LatencyHistogram().percentileMs(0.5)).toBeNaN();
});
