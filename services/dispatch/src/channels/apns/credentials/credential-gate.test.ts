// Tests when something may be sent with a credential.
import { beforeEach, expect, test } from "vitest";
import { CredentialGate } from "./credential-gate.js";

const TOPIC = "com.example.app";
const FOREIGN = "com.example.foreign";

let nowMs: number;
let changes: string[];
let gate: CredentialGate;
beforeEach(() => {
  nowMs = 5_000;
  changes = [];
  gate = new CredentialGate({
    clock: { monotonicMs: () => nowMs },
    haltMs: 60_000,
    onRest: (forMs) => void changes.push(`rests ${forMs}`),
    onChange: (isHalted, reason) => void changes.push(`${isHalted ? "halted" : "good"} ${reason}`),
  });
});

test("when halted, only one probe passes, much later; an answer ends it", () => {
  expect(gate.pass(TOPIC)).toEqual({ passage: "open" });
  gate.halt(TOPIC, "InvalidProviderToken");
  gate.halt(TOPIC, "InvalidProviderToken");
  expect(changes).toEqual(["halted InvalidProviderToken"]);
  nowMs += 59_999;
  expect(gate.pass(TOPIC)).toEqual({ passage: "halted", reason: "InvalidProviderToken" });
  nowMs += 1;
  expect(gate.pass(TOPIC)).toEqual({ passage: "open" });
  expect(gate.pass(TOPIC)).toMatchObject({ passage: "halted" });
  gate.halt(TOPIC, "InvalidProviderToken");
  nowMs += 60_000;
  expect(gate.pass(TOPIC)).toEqual({ passage: "open" });
  gate.accept(TOPIC);
  gate.accept(TOPIC);
  expect(gate.pass(TOPIC)).toEqual({ passage: "open" });
  expect(gate.isHalted).toBe(false);
  expect(changes).toEqual(["halted InvalidProviderToken", "good InvalidProviderToken"]);
});

test("a probe without an answer is followed by another", () => {
  gate.halt(TOPIC, "Forbidden");
  nowMs += 60_000;
  expect(gate.pass(TOPIC)).toEqual({ passage: "open" });
  nowMs += 60_000;
  expect(gate.pass(TOPIC)).toEqual({ passage: "open" });
});

test("it pauses for the longest requested time", () => {
  gate.rest(10_000);
  gate.rest(1_000);
  expect(gate.pass(TOPIC)).toEqual({ passage: "resting", forMs: 10_000 });
  nowMs += 10_000;
  expect(gate.pass(TOPIC)).toEqual({ passage: "open" });
});

test("refused for one topic right after another was accepted: only that topic is halted, and probed after the same pause", () => {
  gate.take(TOPIC);
  nowMs += 60_000;
  expect(gate.halt(FOREIGN, "InvalidProviderToken")).toBe("topic");
  expect(gate.pass(FOREIGN)).toEqual({ passage: "halted", reason: "InvalidProviderToken" });
  expect(gate.pass(TOPIC)).toEqual({ passage: "open" });
  expect([gate.isHalted, changes]).toEqual([false, []]);
  nowMs += 60_000;
  expect(gate.pass(FOREIGN)).toEqual({ passage: "open" });
  expect(gate.pass(FOREIGN)).toMatchObject({ passage: "halted" });
  // Nobody else was taken for long: refused again it still halts nobody else.
  expect(gate.halt(FOREIGN, "InvalidProviderToken")).toBe("all");
  expect(gate.pass(TOPIC)).toEqual({ passage: "open" });
  nowMs += 60_000;
  expect(gate.pass(FOREIGN)).toEqual({ passage: "open" });
  gate.take(FOREIGN);
  expect(gate.pass(FOREIGN)).toEqual({ passage: "open" });
});

test("acceptance of the same topic proves nothing, nor does another's that is long ago", () => {
  gate.take(TOPIC);
  gate.halt(TOPIC, "Forbidden");
  expect(gate.pass(FOREIGN)).toMatchObject({ passage: "halted" });
  gate.take(TOPIC);
  nowMs += 60_001;
  gate.halt(FOREIGN, "Forbidden");
  expect(gate.pass(TOPIC)).toMatchObject({ passage: "halted" });
  expect(changes).toEqual(["halted Forbidden", "good Forbidden", "halted Forbidden"]);
});

test("remembers the acceptance before the last if the last is the refused topic's own", () => {
  gate.take(TOPIC);
  gate.take(FOREIGN);
  gate.take(FOREIGN);
  expect(gate.halt(FOREIGN, "Forbidden")).toBe("topic");
  expect(gate.pass(TOPIC)).toEqual({ passage: "open" });
});

test("a revoked key halts all topics, however many there are", () => {
  const topics = ["a", "b", "c"].map((name) => `com.example.${name}`);
  for (const topic of topics) gate.take(topic);
  for (const topic of topics.toReversed()) gate.halt(topic, "InvalidProviderToken");
  expect(gate.isHalted).toBe(true);
  expect(gate.pass(TOPIC)).toMatchObject({ passage: "halted" });
});

test("remembers a bounded number of halted topics; the oldest is dropped first", () => {
  gate.take(TOPIC);
  for (let i = 0; i <= 1_000; i++) gate.halt(`com.example.foreign${i}`, "Forbidden");
  expect(gate.pass("com.example.foreign0")).toEqual({ passage: "open" });
  expect(gate.pass("com.example.foreign1")).toMatchObject({ passage: "halted" });
  expect(gate.pass("com.example.foreign1000")).toMatchObject({ passage: "halted" });
});

test("reports a pause when it begins, once however many answers come, and again for the next one", () => {
  expect(gate.isResting).toBe(false);
  gate.rest(300_000);
  gate.rest(300_000);
  nowMs += 299_999;
  gate.rest(1_000);
  expect(gate.isResting).toBe(true);
  expect(changes).toEqual(["rests 300000"]);
  nowMs += 1_000;
  expect(gate.isResting).toBe(false);
  gate.rest(60_000);
  expect(changes).toEqual(["rests 300000", "rests 60000"]);
});

test("counts topics that are halted alone until they are accepted", () => {
  gate.take(TOPIC);
  gate.halt(FOREIGN, "InvalidProviderToken");
  expect(gate.haltedTopics).toBe(1);
  gate.accept(FOREIGN);
  expect(gate.haltedTopics).toBe(0);
});
