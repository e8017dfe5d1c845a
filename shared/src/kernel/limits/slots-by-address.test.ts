// Tests the bounded slots against a plain model, and what a client outside a flood sees of it.
// Guarantees: bounds hold after every step; a client that leaves at once is never pushed out by those that stay.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { AddressCounts } from "./address-counts.js";
import { SlotsByAddress } from "./slots-by-address.js";

const address = fc.integer({ min: 0, max: 4 }).map((n) => `a${n}`);

test("counts items and finds the largest address, as in a plain model", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), address), { maxLength: 200 }), (steps) => {
      const counts = new AddressCounts();
      const model = new Map<string, number>();
      for (const [isMore, who] of steps) {
        if (isMore) counts.add(who);
        else counts.remove(who);
        model.set(who, Math.max(0, (model.get(who) ?? 0) + (isMore ? 1 : -1)));
        for (const [name, count] of model) expect(counts.of(name)).toBe(count);
        const most = Math.max(...model.values());
        const largest = counts.largest();
        expect(largest === undefined ? 0 : model.get(largest)).toBe(most);
      }
    }),
  );
});

test("never exceeds the bounds; every newcomer has a slot; each item leaves once", () => {
  const steps = fc.array(fc.tuple(fc.integer({ min: 0, max: 3 }), address, fc.nat()), { maxLength: 200 });
  fc.assert(
    fc.property(
      steps,
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 6 }),
      (all, max, maxPerAddress) => {
        const here = new Map<number, string>();
        const slots = new SlotsByAddress<number>({
          max,
          maxPerAddress,
          onPushedOut: (item) => expect(here.delete(item)).toBe(true),
        });
        let next = 0;
        for (const [kind, who, which] of all) {
          if (kind > 0) {
            here.set(next, who);
            slots.take(who, next++);
            expect(here.has(next - 1)).toBe(true);
          } else if (here.size > 0) {
            const [item = 0, owner = ""] = [...here][which % here.size] ?? [];
            here.delete(item);
            expect(slots.free(owner, item)).toBe(true);
            expect(slots.free(owner, item)).toBe(false);
          }
          expect(slots.size).toBe(here.size);
          expect(new Set(slots.all())).toEqual(new Set(here.keys()));
          expect(slots.size).toBeLessThanOrEqual(max);
          for (const name of new Set(here.values())) {
            expect([...here.values()].filter((other) => other === name).length).toBeLessThanOrEqual(
              maxPerAddress,
            );
          }
        }
      },
    ),
  );
});

test("an item that needs its slot only for a moment keeps it, however many come from elsewhere meanwhile", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 0, max: 60 }), (flooders, meanwhile) => {
      const lost: string[] = [];
      const max = 40;
      const slots = new SlotsByAddress<string>({
        max,
        maxPerAddress: 40,
        onPushedOut: (item) => lost.push(item),
      });
      for (let i = 0; i < 200; i++) slots.take(`flood-${i % flooders}`, `f${i}`);
      slots.take("quiet", "mine");
      // Every other address has more than one while fewer of them flood than half the slots.
      for (let i = 0; i < meanwhile; i++) slots.take(`flood-${i % flooders}`, `later${i}`);
      expect(lost).not.toContain("mine");
      expect(slots.free("quiet", "mine")).toBe(true);
    }),
  );
});

test("an address that many share has no share of its own, but the common bound", () => {
  const lost: number[] = [];
  const slots = new SlotsByAddress<number>({
    max: 10,
    maxPerAddress: 2,
    onPushedOut: (item) => lost.push(item),
  });
  for (let i = 0; i < 12; i++) slots.take("proxy", i, true);
  expect(lost).toEqual([0, 1]);
  expect(slots.size).toBe(10);
});
