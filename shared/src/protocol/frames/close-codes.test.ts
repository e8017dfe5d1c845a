// Tests what each close code tells a client to do, as the public contract says.
// Guarantees: every code that is sent has the action of the contract; unknown ones mean "back off longer".
import { expect, test } from "vitest";
import { closeAction, closeCodes } from "./close-codes.js";

test.each([
  ["resume", [1001, 1006, 1011, 1012, 1013, 4408]],
  ["refresh", [4401]],
  ["backoff", [4429, 4000, 4999, 1005, 3000, 0]],
  ["stop", [1000, 1002, 1003, 1007, 1009, 4400, 4403, 4409]],
] as const)("%s", (action, codes) => {
  expect(codes.map(closeAction)).toEqual(codes.map(() => action));
});

test("the codes that are sent are those of the contract", () => {
  expect(Object.values(closeCodes).sort((a, b) => a - b)).toEqual([
    1000, 1001, 1002, 1003, 1006, 1007, 1009, 1011, 1012, 1013, 4400, 4401, 4403, 4408, 4409, 4429,
  ]);
});
