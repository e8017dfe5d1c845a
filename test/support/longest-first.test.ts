// Tests the order of the test files.
import { expect, test } from "vitest";
import { inTurn } from "./longest-first.js";

test("two kinds come in turn, each file once", () => {
  expect(inTurn(["a", "b", "c"], ["d", "e"])).toEqual(["a", "d", "b", "e", "c"]);
  expect(inTurn(["a"], ["d", "e", "f"])).toEqual(["a", "d", "e", "f"]);
  expect(inTurn([], [])).toEqual([]);
});
