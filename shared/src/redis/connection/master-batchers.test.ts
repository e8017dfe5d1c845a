// Tests one batcher a master, on a map of slots that the test changes.
import * as fc from "fast-check";
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import { slotOf } from "./cluster-nodes.js";
import type { Redis } from "./connect.js";
import { allPartitionKeys } from "../keys.js";
import { MasterBatchers } from "./master-batchers.js";

const partitions = allPartitionKeys(4);

interface Item {
  readonly partition: number;
  readonly number: number;
}

/** Calls end only when the test says so. */
function open(isCluster = true) {
  const slots: string[][] = [];
  const calls: { readonly master: string; readonly items: Item[]; readonly end: () => void }[] = [];
  const batchers = new MasterBatchers<Item>({
    redis: { isCluster, slots } as unknown as Redis,
    partitionOf: ({ partition }) => {
      const keys = partitions[partition];
      if (keys === undefined) throw new Error("no partition");
      return keys;
    },
    maxInFlight: 1,
    flush: (items, master) => new Promise((resolve) => calls.push({ master, items, end: resolve })),
  });
  const place = (partition: number, master: string): void => {
    slots[slotOf(partitions[partition]?.owner ?? "")] = [master];
  };
  return { batchers, calls, place };
}

test("a master that does not answer delays only its own partitions", async () => {
  const { batchers, calls, place } = open();
  for (const partition of [0, 1, 2, 3]) place(partition, partition < 2 ? "a:1" : "b:1");
  batchers.add({ partition: 0, number: 0 });
  await nextTurn();
  batchers.add({ partition: 1, number: 1 });
  // Each is answered; the first one to "a" never is.
  for (let number = 2; number < 20; number++) {
    batchers.add({ partition: 2 + (number % 2), number });
    await nextTurn();
    calls.at(-1)?.end();
    await nextTurn();
  }
  expect(calls.filter(({ master }) => master === "b:1")).toHaveLength(18);
  expect(calls.filter(({ master }) => master === "a:1")).toHaveLength(1);
  expect(batchers.waiting).toBe(1);
});

test("a single server has one batcher for all", async () => {
  const { batchers, calls } = open(false);
  for (const partition of [0, 1, 2, 3]) batchers.add({ partition, number: partition });
  await nextTurn();
  expect(calls.map(({ items }) => items.length)).toEqual([4]);
});

test("waiting items follow their partition to its new master", async () => {
  const { batchers, calls, place } = open();
  for (const partition of [0, 1, 2, 3]) place(partition, "a:1");
  batchers.add({ partition: 0, number: 0 });
  await nextTurn();
  for (const number of [1, 2]) batchers.add({ partition: 0, number });
  batchers.add({ partition: 1, number: 3 });
  place(0, "b:1");
  batchers.add({ partition: 0, number: 4 });
  await nextTurn();
  expect(calls.map(({ master, items }) => [master, items.map(({ number }) => number)])).toEqual([
    ["a:1", [0]],
    ["b:1", [1, 2, 4]],
  ]);
});

test("each partition's items go once, in order, whatever moves, stalls or ends; then it is drained", async () => {
  const step = fc.oneof(
    fc.record({ add: fc.integer({ min: 0, max: 3 }) }),
    fc.record({ move: fc.integer({ min: 0, max: 3 }), to: fc.constantFrom("a:1", "b:1", "c:1") }),
    fc.record({ end: fc.nat(5) }),
    fc.constant({ turn: true }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const { batchers, calls, place } = open();
      for (const partition of [0, 1, 2, 3]) place(partition, "a:1");
      const ended = new Set<object>();
      const end = (call: (typeof calls)[number] | undefined): void => {
        if (call === undefined) return;
        ended.add(call);
        call.end();
      };
      const under = () => calls.filter((call) => !ended.has(call));
      let added = 0;
      for (const one of steps) {
        if ("add" in one) batchers.add({ partition: one.add, number: added++ });
        else if ("move" in one) place(one.move, one.to);
        else if ("end" in one) end(under()[one.end]);
        else await nextTurn();
        const masters = under().map(({ master }) => master);
        expect(new Set(masters).size).toBe(masters.length);
      }
      let isDrained = false;
      const drained = batchers.drained().then(() => (isDrained = true));
      for (let turn = 0; turn < 1_000 && !isDrained; turn++) {
        under().forEach(end);
        await nextTurn();
      }
      await drained;
      const sent = calls.flatMap(({ items }) => items);
      expect(sent).toHaveLength(added);
      for (const { partition } of partitions) {
        const numbers = sent.filter((item) => item.partition === partition).map(({ number }) => number);
        expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
      }
    }),
    { numRuns: 200 },
  );
});
