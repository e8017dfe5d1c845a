// Tests when a push service is paused, with a clock of its own.
import { expect, test } from "vitest";
import { HostBreaker } from "./host-breaker.js";

function open() {
  let nowMs = 5_000;
  const changes: string[] = [];
  const breaker = new HostBreaker({
    clock: { monotonicMs: () => nowMs },
    onChange: (host, isOpen) => void changes.push(`${host} ${isOpen ? "open" : "closed"}`),
  });
  const fail = (times: number, host = "a"): void => {
    for (let n = 0; n < times; n++) breaker.failed(host);
  };
  return { breaker, changes, fail, pass: (ms: number) => void (nowMs += ms) };
}

test("twenty failures in a row close a host, and no other; an answer in between starts over", () => {
  const { breaker, changes, fail } = open();
  fail(19);
  breaker.answered("a");
  fail(19);
  expect(breaker.admit("a")).toBeUndefined();
  fail(1);
  expect(breaker.admit("a")).toBe(1_000);
  expect(breaker.admit("b")).toBeUndefined();
  expect(changes).toEqual(["a open"]);
});

test("then one push probes, and the others wait for its result; each failure doubles the pause, up to a minute", () => {
  const { breaker, changes, fail, pass } = open();
  fail(20);
  // Those that were under way make it no longer.
  fail(30);
  expect(breaker.admit("a")).toBe(1_000);
  for (const pauseMs of [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]) {
    pass(60_000);
    expect(breaker.admit("a")).toBeUndefined();
    expect(breaker.admit("a")).toBeGreaterThan(0);
    breaker.failed("a");
    expect(breaker.admit("a")).toBe(pauseMs);
  }
  pass(60_000);
  expect(breaker.admit("a")).toBeUndefined();
  breaker.answered("a");
  expect(breaker.admit("a")).toBeUndefined();
  expect(changes).toEqual(["a open", "a closed"]);
});

test("a probe without a result is followed by another", () => {
  const { breaker, fail, pass } = open();
  fail(20);
  pass(1_000);
  expect(breaker.admit("a")).toBeUndefined();
  expect(breaker.admit("a")).toBe(1_000);
  pass(1_000);
  expect(breaker.admit("a")).toBeUndefined();
});
