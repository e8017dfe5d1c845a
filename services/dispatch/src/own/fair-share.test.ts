// Tests which member owns which partition.
// Guarantees: for all members and partition counts, not only for some.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { preferredMember } from "./fair-share.js";

const members = fc
  .uniqueArray(fc.stringMatching(/^[a-z0-9.-]{1,12}$/), { minLength: 1, maxLength: 20 })
  .map((ids) => ids.sort());

test("every partition has exactly one member, and shares differ by at most one", () => {
  fc.assert(
    fc.property(members, fc.integer({ min: 1, max: 300 }), (ids, partitions) => {
      const shares = new Map(ids.map((id) => [id, 0]));
      for (let partition = 0; partition < partitions; partition++) {
        const id = preferredMember(partition, ids);
        expect(ids).toContain(id);
        if (id !== undefined) shares.set(id, (shares.get(id) ?? 0) + 1);
      }
      const counts = [...shares.values()];
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
      expect(counts.reduce((sum, count) => sum + count, 0)).toBe(partitions);
    }),
  );
});

test("without members a partition belongs to nobody", () => {
  expect(preferredMember(3, [])).toBeUndefined();
});
