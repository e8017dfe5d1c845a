// Tests names from a pool of random bytes, across its refills.
import { expect, test } from "vitest";
import { createRandomIds } from "./random-ids.js";

test("all of the right form, and none twice", () => {
  const next = createRandomIds(9);
  const ids = Array.from({ length: 1_000 }, next);
  expect(ids.filter((id) => !/^[\w-]{12}$/.test(id))).toEqual([]);
  expect(new Set(ids).size).toBe(1_000);
});
