// Tests the close-code table.
// Guarantees: it is the contract's table; it has every code a node sends, and any other code means "back off".
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import { describe, expect, it } from "vitest";
import { nextStep } from "./close-policy.js";

const contract: readonly (readonly [code: number, step: string])[] = [
  [1001, "resume"],
  [1006, "resume"],
  [1011, "resume"],
  [1012, "resume"],
  [1013, "resume"],
  [4408, "resume"],
  [4401, "refresh"],
  [4429, "backoff"],
  [1000, "stop"],
  [1002, "stop"],
  [1003, "stop"],
  [1007, "stop"],
  [1009, "stop"],
  [4400, "stop"],
  [4403, "stop"],
  [4409, "stop"],
];

describe("close policy", () => {
  it.each(contract)("%i means %s", (code, step) => {
    expect(nextStep(code)).toBe(step);
  });

  it("has every code that a node sends", () => {
    const known = contract.map(([code]) => code);
    expect(Object.values(closeCodes).filter((code) => !known.includes(code))).toEqual([]);
  });

  it("backs off at every other code", () => {
    const known = new Map(contract);
    const wrong = Array.from({ length: 5_000 }, (_, code) => code).filter(
      (code) => !known.has(code) && nextStep(code) !== "backoff",
    );
    expect(wrong).toEqual([]);
  });

  it("lets the error frame decide if the code says nothing", () => {
    expect(nextStep(1006, "stop")).toBe("stop");
    expect(nextStep(4777, "refresh")).toBe("refresh");
    expect(nextStep(4777, "something new")).toBe("backoff");
    expect(nextStep(4403, "resume")).toBe("stop");
    expect(nextStep(4408, "stop")).toBe("resume");
  });
});
