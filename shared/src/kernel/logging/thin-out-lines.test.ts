// Tests which lines of an outage are written, on a test clock; logging.test checks that the logger uses this.
import { expect, test } from "vitest";
import { createLineCount } from "./thin-out-lines.js";

const WARN = 40;

test("of equal failures the first ten are written, then one a second, with how many there were", () => {
  let nowMs = 0;
  const count = createLineCount({ wallMs: () => 0, monotonicMs: () => nowMs });
  const written: number[] = [];
  // Thousands a second, for ten seconds, each with a different name.
  for (let i = 0; i < 20_000; i++) {
    nowMs = i / 2;
    const times = count(WARN, { connection: `c${i}`, reason: "Redis does not answer" }, "not registered");
    if (times > 0) written.push(times);
  }
  expect(written).toHaveLength(10 + 9);
  expect(written.slice(0, 10)).toEqual(Array.from({ length: 10 }, () => 1));
  expect(written.at(-1)).toBe(2_000);
});

test("another reason, another text and another level are others; what has no reason is always written", () => {
  const count = createLineCount({ wallMs: () => 0, monotonicMs: () => 0 });
  const spend = (fields: unknown, text = "t", level = WARN): number[] =>
    Array.from({ length: 11 }, () => count(level, fields, text)).slice(-1);
  expect(spend({ reason: "a" })).toEqual([0]);
  expect(count(WARN, { reason: "b" }, "t")).toBe(1);
  expect(count(WARN, { reason: "a" }, "u")).toBe(1);
  expect(count(50, { reason: "a" }, "t")).toBe(1);
  expect(spend({ err: new Error("e", { cause: new Error("c1") }) })).toEqual([0]);
  expect(count(WARN, { err: new Error("e", { cause: new Error("c2") }) }, "t")).toBe(1);
  expect(spend({ user: "u" })).toEqual([1]);
  expect(spend(undefined)).toEqual([1]);
});

test("what stands nowhere else is always written: acts that could not be noted, messages that hung", () => {
  const count = createLineCount({ wallMs: () => 0, monotonicMs: () => 0 });
  for (let i = 0; i < 100; i++) {
    const act = { actor: "key:k", action: "key.revoke", target: `k${i}` };
    expect(count(50, { audit: act, reason: "away" }, "audit: an act could not be noted")).toBe(1);
    expect(count(WARN, { user: `u${i}`, reason: "unwatched", ids: ["m"] }, "a user's messages hang")).toBe(1);
  }
});
