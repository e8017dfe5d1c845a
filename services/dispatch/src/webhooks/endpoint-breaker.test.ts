// Tests when an endpoint may be tried, with a clock of the test's own.
import { expect, test } from "vitest";
import { EndpointBreaker } from "./endpoint-breaker.js";

function open() {
  let nowMs = 0;
  const breaker = new EndpointBreaker({ monotonicMs: () => nowMs });
  return { breaker, pass: (ms: number) => void (nowMs += ms) };
}

function fail(breaker: EndpointBreaker, times: number): void {
  for (let i = 0; i < times; i++) {
    expect(breaker.begin()).toBe(true);
    breaker.failed();
  }
}

test("after five failures in a row, allows one request at a time, with pauses that grow to a minute", () => {
  const { breaker, pass } = open();
  fail(breaker, 4);
  expect(breaker.isOpen).toBe(false);
  fail(breaker, 1);
  expect(breaker.isOpen).toBe(true);
  for (let i = 0; i < 20; i++) {
    pass(60_000);
    expect(breaker.waitMs()).toBe(0);
    expect(breaker.begin()).toBe(true);
    expect(breaker.waitMs()).toBeGreaterThan(0);
    expect(breaker.begin()).toBe(false);
    breaker.failed();
    expect(breaker.waitMs()).toBeLessThanOrEqual(60_000);
  }
});

test("a success closes it and lets the others go on", () => {
  const { breaker, pass } = open();
  fail(breaker, 5);
  pass(60_000);
  expect(breaker.begin()).toBe(true);
  breaker.succeeded();
  expect([breaker.isOpen, breaker.waitMs(), breaker.recoveries]).toEqual([false, 0, 1]);
  fail(breaker, 1);
  breaker.succeeded();
  // It was not open: who fails alone has a fault of its own.
  expect(breaker.recoveries).toBe(1);
});

test("a probe without an outcome lets another one try", () => {
  const { breaker, pass } = open();
  fail(breaker, 5);
  pass(60_000);
  expect(breaker.begin()).toBe(true);
  breaker.abandoned();
  expect(breaker.begin()).toBe(true);
});

test("a requested pause applies to all", () => {
  const { breaker, pass } = open();
  expect(breaker.begin()).toBe(true);
  breaker.failed(30_000);
  expect(breaker.waitMs()).toBe(30_000);
  expect(breaker.begin()).toBe(false);
  pass(30_000);
  expect(breaker.begin()).toBe(true);
});
