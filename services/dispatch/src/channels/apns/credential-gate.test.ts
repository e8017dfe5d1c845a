// Tests when something may be sent with a credential.
import { beforeEach, expect, test } from "vitest";
import { CredentialGate } from "./credential-gate.js";

let nowMs: number;
let changes: string[];
let gate: CredentialGate;
beforeEach(() => {
  nowMs = 5_000;
  changes = [];
  gate = new CredentialGate({
    clock: { monotonicMs: () => nowMs },
    haltMs: 60_000,
    onChange: (isHalted, reason) => void changes.push(`${isHalted ? "halted" : "good"} ${reason}`),
  });
});

test("halted: nothing passes but one look a long while later; an answer ends it", () => {
  expect(gate.pass()).toEqual({ passage: "open" });
  gate.halt("InvalidProviderToken");
  gate.halt("InvalidProviderToken");
  expect(changes).toEqual(["halted InvalidProviderToken"]);
  nowMs += 59_999;
  expect(gate.pass()).toEqual({ passage: "halted", reason: "InvalidProviderToken" });
  nowMs += 1;
  expect(gate.pass()).toEqual({ passage: "open" });
  expect(gate.pass()).toMatchObject({ passage: "halted" });
  gate.halt("InvalidProviderToken");
  nowMs += 60_000;
  expect(gate.pass()).toEqual({ passage: "open" });
  gate.accept();
  gate.accept();
  expect(gate.pass()).toEqual({ passage: "open" });
  expect(gate.isHalted).toBe(false);
  expect(changes).toEqual(["halted InvalidProviderToken", "good InvalidProviderToken"]);
});

test("a look that is never answered is followed by another", () => {
  gate.halt("Forbidden");
  nowMs += 60_000;
  expect(gate.pass()).toEqual({ passage: "open" });
  nowMs += 60_000;
  expect(gate.pass()).toEqual({ passage: "open" });
});

test("it rests as long as the longest wish", () => {
  gate.rest(10_000);
  gate.rest(1_000);
  expect(gate.pass()).toEqual({ passage: "resting", forMs: 10_000 });
  nowMs += 10_000;
  expect(gate.pass()).toEqual({ passage: "open" });
});
