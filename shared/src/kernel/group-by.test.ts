// kernel/group-by: groups items by key.
import { expect, it } from "vitest";
import { groupBy } from "./group-by.js";

it("groups by key, in order", () => {
  const groups = groupBy(["b1", "a1", "b2", "c1", "a2"], (word) => word[0]);
  expect([...groups]).toEqual([
    ["b", ["b1", "b2"]],
    ["a", ["a1", "a2"]],
    ["c", ["c1"]],
  ]);
  expect([...groupBy([], String)]).toEqual([]);
});
