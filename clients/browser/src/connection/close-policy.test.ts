// Tests of the close-code table.
// Guarantees: the table is the contract's, and the same as the one the server side uses.
import { closeAction } from "@petrel/shared/protocol/frames/close-codes";
import { describe, expect, it } from "vitest";
import { nextStep } from "./close-policy.js";

describe("close policy", () => {
  it.each([
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
    [1005, "backoff"],
    [4999, "backoff"],
  ])("%i means %s", (code, step) => {
    expect(nextStep(code)).toBe(step);
  });

  it("agrees with the protocol's table on every code", () => {
    for (let code = 1000; code < 5000; code++)
      expect([code, nextStep(code)]).toEqual([code, closeAction(code)]);
  });

  it("lets the error frame decide where the code tells nothing", () => {
    expect(nextStep(1006, "stop")).toBe("stop");
    expect(nextStep(4777, "refresh")).toBe("refresh");
    expect(nextStep(4777, "something new")).toBe("backoff");
    expect(nextStep(4403, "resume")).toBe("stop");
    expect(nextStep(4408, "stop")).toBe("resume");
  });
});
