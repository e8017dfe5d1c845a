// Tests the window of message ids.
// Guarantees: it forgets the oldest first, and never exceeds its capacity.
import { expect, it } from "vitest";
import { DeliveredIds } from "./delivered-ids.js";

it("remembers only the newest ids", () => {
  const ids = new DeliveredIds(3);
  for (const id of ["a", "b", "c", "d"]) ids.add(id);
  expect(["a", "b", "c", "d"].map((id) => ids.has(id))).toEqual([false, true, true, true]);
  ids.delete("c");
  ids.add("e");
  expect(["b", "d", "e"].every((id) => ids.has(id))).toBe(true);
});
