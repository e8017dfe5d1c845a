// Tests the order of the test files.
import { expect, test } from "vitest";
import { inTurn } from "./longest-first.js";

test("the longer half comes in turn with the shorter one, each once", () => {
  expect(inTurn(["a", "b", "c", "d", "e", "f"])).toEqual(["a", "d", "b", "e", "c", "f"]);
  expect(inTurn(["a", "b", "c"])).toEqual(["a", "c", "b"]);
  expect(inTurn([])).toEqual([]);
});
