// Tests the hot path's histogram.
// Guarantees: its text equals the client library's, line for line.
import { Histogram, Registry } from "prom-client";
import { expect, test } from "vitest";
import { DurationHistogram } from "./duration-histogram.js";

const options = { name: "petrel_some_seconds", help: "Some durations." } as const;
const bounds = [0.005, 0.1, 1, 30];
const observations = [0, 0.005, 0.0051, 0.1, 0.25, 0.999, 1, 29.5, 30, 31, 86_400];

/** The order of a series' labels does not matter. */
function sortedLines(text: string): string[] {
  return text
    .split("\n")
    .map((line) =>
      line.replace(/\{(.*)\}/, (_all, labels: string) => `{${labels.split(",").sort().join(",")}}`),
    );
}

test("exposes the same text as the library's histogram", async () => {
  const own = new Registry();
  own.setDefaultLabels({ component: "test" });
  const histogram = new DurationHistogram<"kind" | "link">(own, { ...options, bounds });
  const library = new Registry();
  library.setDefaultLabels({ component: "test" });
  const reference = new Histogram({
    ...options,
    labelNames: ["kind", "link"],
    buckets: bounds,
    registers: [library],
  });
  for (const kind of ["a", "b"]) {
    const series = histogram.series({ kind, link: "x" });
    for (const seconds of observations) {
      series.observe(seconds);
      reference.observe({ kind, link: "x" }, seconds);
    }
  }
  const text = await own.metrics();
  expect(sortedLines(text)).toEqual(sortedLines(await library.metrics()));
  expect(text).toContain('petrel_some_seconds_bucket{kind="a",link="x",le="30",component="test"} 9');
});

test("exposes unobserved series as 0, so that a rate has a start", async () => {
  const registry = new Registry();
  new DurationHistogram<never>(registry, { ...options, bounds: [1] }).series({});
  expect(await registry.metrics()).toContain('petrel_some_seconds_bucket{le="+Inf"} 0');
});
