// Tests when an app's requests may go to WeChat.
import { expect, test } from "vitest";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { AppGate, type OpenPassage } from "./app-gate.js";

function openGate() {
  const clock = { nowMs: 0, monotonicMs: () => clock.nowMs };
  const logger = createLogger({ service: "test", level: "silent" });
  return { clock, gate: new AppGate({ appid: "wx1", clock, logger, random: () => 0 }) };
}
const ordinary: OpenPassage = { passage: "open" };
function probe(gate: AppGate): OpenPassage {
  const passage = gate.pass();
  if (passage.passage === "closed") throw new Error(passage.reason);
  return passage;
}
const passages = (gate: AppGate, count: number): string[] =>
  Array.from({ length: count }, () => gate.pass().passage);

test("pauses for as long as WeChat asks", () => {
  const { clock, gate } = openGate();
  gate.rest("45009: the day", 60_000);
  clock.nowMs = 59_000;
  expect(gate.pass()).toEqual({ passage: "closed", reason: "45009: the day", forMs: 1_000 });
  clock.nowMs = 60_000;
  expect(gate.pass()).toEqual({ passage: "open" });
});

test("closes if WeChat does not answer; then one request at a time probes, at growing intervals", () => {
  const { clock, gate } = openGate();
  for (let i = 0; i < 4; i++) gate.unanswered(ordinary);
  expect(passages(gate, 2)).toEqual(["open", "open"]);
  gate.unanswered(ordinary);
  expect(gate.isClosed).toBe(true);
  expect(gate.pass()).toEqual({ passage: "closed", reason: "WeChat does not answer", forMs: 1_000 });
  const waits: number[] = [];
  for (let i = 0; i < 8; i++) {
    const passage = gate.pass();
    if (passage.passage !== "closed") throw new Error("open too early");
    waits.push(passage.forMs);
    clock.nowMs += passage.forMs;
    const first = probe(gate);
    expect(passages(gate, 2)).toEqual(["closed", "closed"]);
    gate.unanswered(first);
  }
  expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
  clock.nowMs += 60_000;
  gate.pass();
  gate.answered();
  expect(passages(gate, 3)).toEqual(["open", "open", "open"]);
});

test("a probe without a result does not block it forever", () => {
  const { clock, gate } = openGate();
  for (let i = 0; i < 5; i++) gate.unanswered(ordinary);
  clock.nowMs = 1_000;
  expect(passages(gate, 2)).toEqual(["open", "closed"]);
  clock.nowMs = 31_000;
  expect(passages(gate, 2)).toEqual(["open", "closed"]);
});

test("a probe that was never sent leaves its turn to another, and opens nothing", () => {
  const { clock, gate } = openGate();
  for (let i = 0; i < 5; i++) gate.unanswered(ordinary);
  clock.nowMs = 1_000;
  const first = probe(gate);
  expect(passages(gate, 1)).toEqual(["closed"]);
  gate.released(first);
  expect(gate.isClosed).toBe(true);
  expect(passages(gate, 2)).toEqual(["open", "closed"]);
});

test("a send that does not probe, or gave its probe up, leaves another one's probe alone", () => {
  const { clock, gate } = openGate();
  for (let i = 0; i < 5; i++) gate.unanswered(ordinary);
  clock.nowMs = 1_000;
  const givenUp = probe(gate);
  clock.nowMs = 31_000;
  probe(gate);
  for (const late of [ordinary, givenUp]) {
    gate.released(late);
    expect(passages(gate, 1)).toEqual(["closed"]);
  }
  gate.unanswered(ordinary);
  clock.nowMs = 60_999;
  expect(passages(gate, 1)).toEqual(["closed"]);
});

test("believes that one openid is invalid, but not those of twenty users at once", () => {
  const { gate } = openGate();
  expect(Array.from({ length: 19 }, (_, i) => gate.badOpenid(`u${i}`))).toEqual(
    Array.from({ length: 19 }, () => true),
  );
  expect(gate.badOpenid("u19")).toBe(false);
  for (let i = 0; i < 40; i++) gate.goodOpenid();
  expect(gate.badOpenid("u20")).toBe(true);
});
