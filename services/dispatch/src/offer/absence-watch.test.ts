// Tests when absence counts again after a link was down.
// Guarantees: on a stepped clock; a link that keeps breaking puts it off for a bounded time only.
import { expect, test } from "vitest";
import { AbsenceWatch } from "./absence-watch.js";

const SETTLE_MS = 5_000;

function watch() {
  let nowMs = 1_000;
  const clock = { wallMs: () => 0, monotonicMs: () => nowMs };
  const absence = new AbsenceWatch({ clock, settleMs: SETTLE_MS, confirmMs: 1_000 });
  return { absence, pass: (ms: number) => void (nowMs += ms) };
}

test("absence counts until a link was down, and again when the time is over", () => {
  const { absence, pass } = watch();
  expect(absence.rules).toEqual({ absenceInMs: 0, settleMs: SETTLE_MS, confirmMs: 1_000 });
  absence.linkIsBack();
  expect(absence.rules.absenceInMs).toBe(SETTLE_MS);
  pass(4_000);
  expect(absence.rules.absenceInMs).toBe(1_000);
  pass(1_000);
  expect(absence.rules.absenceInMs).toBe(0);
});

test("a flapping link postpones it, but not forever", () => {
  const { absence, pass } = watch();
  let countedAt = 0;
  for (let second = 0; second < 60; second++) {
    if (second % 4 === 0) absence.linkIsBack();
    if (absence.rules.absenceInMs === 0) countedAt++;
    pass(1_000);
  }
  expect(countedAt).toBeGreaterThan(0);
});
