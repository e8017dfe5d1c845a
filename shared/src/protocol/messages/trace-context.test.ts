// Tests the trace context, as producers send it and messages carry it.
import { describe, expect, test } from "vitest";
import { formatTraceContext, parseTraceContext } from "./trace-context.js";

const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
const spanId = "00f067aa0ba902b7";

describe("a valid traceparent", () => {
  test.each([
    ["the W3C's own example", `00-${traceId}-${spanId}-01`, true],
    ["not sampled", `00-${traceId}-${spanId}-00`, false],
    ["unknown flags", `00-${traceId}-${spanId}-ff`, true],
    ["a later version", `cc-${traceId}-${spanId}-01`, true],
    ["a later version with more in it", `cc-${traceId}-${spanId}-01-what-the-future-will-be-like`, true],
  ])("%s", (_name, text, isSampled) => {
    expect(parseTraceContext(text)).toEqual({ traceId, spanId, isSampled });
  });

  test("reads back what it writes", () => {
    expect(parseTraceContext(formatTraceContext(traceId, spanId))).toEqual({
      traceId,
      spanId,
      isSampled: true,
    });
    expect(formatTraceContext(traceId, spanId)).toHaveLength(55);
  });
});

test.each([
  ["nothing", undefined],
  ["empty", ""],
  ["upper case", `00-${traceId.toUpperCase()}-${spanId}-01`],
  ["a trace id of zeros", `00-${"0".repeat(32)}-${spanId}-01`],
  ["a span id of zeros", `00-${traceId}-${"0".repeat(16)}-01`],
  ["a short trace id", `00-${traceId.slice(1)}-${spanId}-01`],
  ["a long span id", `00-${traceId}-${spanId}0-01`],
  ["not hex", `00-${traceId.slice(0, -1)}g-${spanId}-01`],
  ["version ff", `ff-${traceId}-${spanId}-01`],
  ["version 00 with more in it", `00-${traceId}-${spanId}-01-more`],
  ["a later version with more fields", `cc-${traceId}-${spanId}-01more`],
  ["two headers, joined", `00-${traceId}-${spanId}-01, 00-${traceId}-${spanId}-01`],
  ["spaces", ` 00-${traceId}-${spanId}-01`],
])("invalid: %s", (_name, text) => {
  expect(parseTraceContext(text)).toBeUndefined();
});
