// kernel/in-slices: slices of a list.
import { expect, it } from "vitest";
import { inSlices } from "./in-slices.js";

it.each([
  [[], 2, []],
  [[1], 2, [[1]]],
  [[1, 2], 2, [[1, 2]]],
  [[1, 2, 3, 4, 5], 2, [[1, 2], [3, 4], [5]]],
])("%j in slices of %i: %j", (items, size, slices) => {
  expect(inSlices<number>(items, size)).toEqual(slices);
});
