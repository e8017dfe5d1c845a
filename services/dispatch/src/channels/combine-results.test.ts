// Tests a message's answer, from its results at each device.
import { expect, test } from "vitest";
import { combineResults, type DeviceResult, type NextAttempt } from "./combine-results.js";

const next: NextAttempt = {
  attempt: 1,
  maxAttempts: 30,
  retry: { baseMs: 1_000, capMs: 300_000 },
  nowMs: 1_000_000,
  expiresAtMs: 2_000_000,
};
const taken: DeviceResult = { kind: "taken" };
const gone: DeviceResult = { kind: "gone", reason: "unregistered" };
const failed: DeviceResult = { kind: "failed", reason: "PayloadTooLarge" };
const halted: DeviceResult = { kind: "halted", reason: "InvalidProviderToken" };
const doubted: DeviceResult = { kind: "doubted", reason: "bad-device-token", afterMs: 30_000 };
const held: DeviceResult = { kind: "held", reason: "paused", afterMs: 60_000 };
const retry: DeviceResult = { kind: "retry", reason: "503", afterMs: undefined };
const later: DeviceResult = { kind: "retry", reason: "429", afterMs: 7_000 };

test.each<[string, readonly DeviceResult[], object]>([
  ["one has it", [taken], { outcome: "taken" }],
  ["one has it, the other is gone", [gone, taken], { outcome: "taken" }],
  ["one has it, the other never will", [taken, failed, halted], { outcome: "taken" }],
  ["one has it, the other is doubted", [taken, doubted], { outcome: "taken" }],
  ["one has it, the other may", [taken, retry], { outcome: "retry", reason: "503", afterMs: 0 }],
  ["one has it, the other's app is paused", [taken, held], { outcome: "retry", afterMs: 60_000 }],
  ["none is left", [gone, gone], { outcome: "no-device" }],
  ["only a fault", [retry], { outcome: "retry", reason: "503", afterMs: 0 }],
  ["the longest wish counts", [retry, later], { outcome: "retry", afterMs: 7_000 }],
  ["a fault is not delayed by what is held back elsewhere", [retry, held], { outcome: "retry", afterMs: 0 }],
  ["a fault before a refusal", [failed, halted, retry], { outcome: "retry" }],
  ["a doubt before a refusal", [failed, doubted], { outcome: "retry", afterMs: 30_000 }],
  [
    "refused for the message's sake",
    [failed, gone],
    { outcome: "failed", cause: "rejected", reason: "PayloadTooLarge" },
  ],
  [
    "refused for the key's sake",
    [failed, halted],
    { outcome: "failed", cause: "misconfigured", reason: "InvalidProviderToken" },
  ],
])("%s", (_name, results, answer) => {
  const combined = combineResults(results, false, next);
  expect(combined).toMatchObject(answer);
  expect(combined.notes).toHaveLength(results.length);
});

test("counts devices reached by an earlier attempt", () => {
  expect(combineResults([gone], true, next)).toMatchObject({ outcome: "taken" });
  expect(combineResults([], true, next)).toMatchObject({ outcome: "taken" });
  expect(combineResults([retry], true, next)).toMatchObject({ outcome: "retry" });
});

test("a message that one phone has neither fails nor expires because of another: the last attempt that is sure to come settles it", () => {
  const both = [taken, retry];
  expect(combineResults(both, false, { ...next, attempt: 29 })).toMatchObject({ outcome: "retry" });
  expect(combineResults(both, false, { ...next, attempt: 30 })).toMatchObject({ outcome: "taken" });
  expect(combineResults(both, false, { ...next, expiresAtMs: 1_001_001 })).toMatchObject({
    outcome: "retry",
  });
  expect(combineResults(both, false, { ...next, expiresAtMs: 1_001_000 })).toMatchObject({
    outcome: "taken",
  });
  expect(combineResults([taken, later], false, { ...next, expiresAtMs: 1_007_000 })).toMatchObject({
    outcome: "taken",
  });
  // What nobody has goes on like every other.
  expect(combineResults([retry], false, { ...next, attempt: 30 })).toMatchObject({ outcome: "retry" });
});

test("the notes say what became of each", () => {
  const details = { device: "d_1", token: "…abcdef", apnsId: "x" };
  expect(combineResults([{ ...taken, details }, doubted], false, next).notes).toEqual([
    { outcome: "taken", details },
    { outcome: "retry", reason: "bad-device-token" },
  ]);
});
