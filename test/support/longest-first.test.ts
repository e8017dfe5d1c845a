// Tests the order of the test files.
import { expect, test } from "vitest";
import { weave } from "./longest-first.js";

test("one after each two of the others, and each once", () => {
  expect(weave(["a", "b", "c", "d", "e"], ["1", "2", "3"], 2)).toEqual([
    "a",
    "b",
    "1",
    "c",
    "d",
    "2",
    "e",
    "3",
  ]);
  expect(weave(["a", "b", "c"], ["1"], 1)).toEqual(["a", "1", "b", "c"]);
  expect(weave(["a"], [], 20)).toEqual(["a"]);
  expect(weave([], ["1", "2"], 2)).toEqual(["1", "2"]);
});
