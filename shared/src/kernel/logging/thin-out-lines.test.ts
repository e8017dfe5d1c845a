// Tests which lines of an outage are written, on a test clock; logging.test checks that the logger uses this.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ThinOutLines } from "./thin-out-lines.js";

const WARN = 40;

function open() {
  let nowMs = 0;
  const later: { readonly atMs: number; readonly call: () => void }[] = [];
  const written: { readonly fields: unknown; readonly times: number; readonly atMs: number }[] = [];
  const thinOut = new ThinOutLines({
    clock: { wallMs: () => 0, monotonicMs: () => nowMs },
    after: (ms, call) => void later.push({ atMs: nowMs + ms, call }),
  });
  const runUntil = (atMs: number): void => {
    for (;;) {
      later.sort((a, b) => a.atMs - b.atMs);
      const next = later[0];
      if (next === undefined || next.atMs > atMs) break;
      later.shift();
      nowMs = Math.max(nowMs, next.atMs);
      next.call();
    }
    nowMs = atMs;
  };
  const line = (fields: unknown, text: unknown = "t", level = WARN): void =>
    thinOut.line(level, fields, text, (times) => void written.push({ fields, times, atMs: nowMs }));
  return { thinOut, line, runUntil, written, waiting: () => later.length };
}

test("logs one of equal failures, then one a minute, with their count", () => {
  const { line, runUntil, written } = open();
  // A thousand a second, for three minutes, each of another connection.
  for (let i = 0; i < 180_000; i++) {
    runUntil(i);
    line({ connection: `c${i}`, reason: "Redis does not answer" }, "not registered");
  }
  runUntil(400_000);
  expect(written.map(({ atMs }) => atMs)).toEqual([0, 60_000, 120_000, 180_001]);
  expect(written.reduce((sum, { times }) => sum + times, 0)).toBe(180_000);
  expect(written[0]).toMatchObject({ fields: { connection: "c0" }, times: 1 });
});

test("logs a second one at the end of the minute, in its own words", () => {
  const { line, runUntil, written, waiting } = open();
  line({ connection: "a", reason: "r" });
  runUntil(10_000);
  line({ connection: "b", reason: "r" });
  runUntil(300_000);
  expect(written).toEqual([
    { fields: { connection: "a", reason: "r" }, times: 1, atMs: 0 },
    { fields: { connection: "b", reason: "r" }, times: 1, atMs: 70_000 },
  ]);
  expect(waiting()).toBe(0);
});

test("treats another reason, text or level as another failure; always logs what has no reason", () => {
  const { line, written } = open();
  const other = [{ reason: "a" }, { reason: "b" }, new Error("x"), { err: new Error("y") }];
  for (const fields of [...other, ...other]) line(fields);
  line({ reason: "a" }, "u");
  line({ reason: "a" }, "t", 50);
  line({ err: new Error("y", { cause: new Error("z") }) });
  expect(written).toHaveLength(7);
  for (let i = 0; i < 20; i++) line({ user: "u" });
  for (let i = 0; i < 20; i++) line(undefined);
  expect(written).toHaveLength(47);
});

test("always logs what is recorded nowhere else: unaudited acts, stuck messages", () => {
  const { line, written } = open();
  for (let i = 0; i < 100; i++) {
    line({ audit: { target: `k${i}` }, reason: "away" });
    line({ user: `u${i}`, reason: "unwatched", ids: ["m"] });
  }
  expect(written).toHaveLength(200);
});

test("counts each line once, and writes no kind twice in a minute, whatever the timing", () => {
  const step = fc.record({ waitMs: fc.nat(90_000), reason: fc.constantFrom("a", "b") });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { thinOut, line, runUntil, written } = open();
      let nowMs = 0;
      for (const { waitMs, reason } of steps) {
        runUntil((nowMs += waitMs));
        line({ reason });
      }
      const before = written.length;
      for (const reason of ["a", "b"]) {
        const at = written
          .slice(0, before)
          .filter(({ fields }) => (fields as { reason: string }).reason === reason)
          .map(({ atMs }) => atMs);
        for (const [i, ms] of at.entries())
          if (i > 0) expect(ms - (at[i - 1] ?? 0)).toBeGreaterThanOrEqual(60_000);
      }
      thinOut.flush();
      expect(written.reduce((sum, { times }) => sum + times, 0)).toBe(steps.length);
    }),
  );
});
