// Tests that a user's partition never changes, and that users spread evenly.
// Guarantees: a change of the hash, which would strand all stored data, fails a test.
import { expect, test } from "vitest";
import { partitionOfUser } from "./partition.js";

test("stored data depends on these values: they must never change", () => {
  const users = ["a", "alice", "bob", "user-1", "user-2", "x".repeat(128), "A-z_0.9:@|~+="];
  expect(users.map((user) => partitionOfUser(user, 4096))).toEqual([
    3360, 1221, 1554, 3111, 1662, 2203, 3761,
  ]);
  expect(users.map((user) => partitionOfUser(user, 1))).toEqual(users.map(() => 0));
});

test.each([2, 3, 4, 7, 16, 64])("numbered users spread over %i partitions", (partitionCount) => {
  const perPartition = Array.from({ length: partitionCount }, () => 0);
  const users = 20_000;
  for (let i = 0; i < users; i++) {
    const partition = partitionOfUser(`user-${i}`, partitionCount);
    perPartition[partition] = (perPartition[partition] ?? 0) + 1;
  }
  expect(perPartition).toHaveLength(partitionCount);
  const fair = users / partitionCount;
  expect(Math.min(...perPartition)).toBeGreaterThan(fair * 0.75);
  expect(Math.max(...perPartition)).toBeLessThan(fair * 1.25);
});
