// Tests that the close codes match the public contract.
import { expect, test } from "vitest";
import { closeCodes } from "./close-codes.js";

test("sends exactly the contract's codes", () => {
  expect(Object.values(closeCodes).sort((a, b) => a - b)).toEqual([
    1000, 1001, 1002, 1003, 1006, 1007, 1009, 1011, 1012, 1013, 4400, 4401, 4403, 4408, 4409, 4429,
  ]);
});
