// Tests how calls are batched.
// Guarantees: one turn is one batch; under load batches grow instead of calls; order is kept.
import * as fc from "fast-check";
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import { waitFor } from "../testing/wait-for.js";
import { TurnBatcher, type TurnBatcherOptions } from "./turn-batcher.js";

/** A batcher whose calls end only when the test says so. */
function heldBatcher(
  maxInFlight: number,
  more: Partial<Omit<TurnBatcherOptions<number>, "maxInFlight" | "flush">> = {},
) {
  const calls: { items: number[]; end: () => void }[] = [];
  const batcher = new TurnBatcher<number>({
    maxInFlight,
    ...more,
    flush: (items) => new Promise<void>((resolve) => calls.push({ items, end: resolve })),
  });
  return { batcher, calls, items: () => calls.map((call) => call.items) };
}

test("items added in one turn go out in one call, in order", async () => {
  const { batcher, items } = heldBatcher(1);
  for (const item of [1, 2, 3]) batcher.add(item);
  expect(batcher.waiting).toBe(3);
  expect(items()).toEqual([]);
  await nextTurn();
  expect(items()).toEqual([[1, 2, 3]]);
  expect(batcher.waiting).toBe(0);
});

test("an idle caller does not linger", async () => {
  const { batcher, items } = heldBatcher(1);
  batcher.add(1);
  await nextTurn();
  expect(items()).toEqual([[1]]);
});

test("while the allowed number of calls is in flight, the next batch grows", async () => {
  const { batcher, calls, items } = heldBatcher(2);
  for (const item of [1, 2, 3, 4, 5]) {
    batcher.add(item);
    await nextTurn();
  }
  expect(items()).toEqual([[1], [2]]);
  expect(batcher.waiting).toBe(3);
  calls[0]?.end();
  await nextTurn();
  await nextTurn();
  expect(items()).toEqual([[1], [2], [3, 4, 5]]);
});

test("drained() waits for queued items and calls in flight", async () => {
  const { batcher, calls } = heldBatcher(1);
  await batcher.drained();
  batcher.add(1);
  let drained = false;
  const whenDrained = batcher.drained().then(() => (drained = true));
  await nextTurn();
  batcher.add(2);
  calls[0]?.end();
  await nextTurn();
  await nextTurn();
  expect(drained).toBe(false);
  expect(calls).toHaveLength(2);
  calls[1]?.end();
  await whenDrained;
});

test("a call takes a bounded number of items; the rest goes in others, as slots allow", async () => {
  const { batcher, calls, items } = heldBatcher(2, { maxItems: 2 });
  for (const item of [1, 2, 3, 4, 5]) batcher.add(item);
  await nextTurn();
  await nextTurn();
  expect(items()).toEqual([
    [1, 2],
    [3, 4],
  ]);
  expect(batcher.waiting).toBe(1);
  calls[1]?.end();
  await nextTurn();
  await nextTurn();
  expect(items()).toEqual([[1, 2], [3, 4], [5]]);
});

test("items that come while it lingers join the batch", async () => {
  const { batcher, calls, items } = heldBatcher(1, { lingerMs: 20 });
  batcher.add(1);
  await nextTurn();
  await nextTurn();
  batcher.add(2);
  expect(items()).toEqual([]);
  const drained = batcher.drained();
  await waitFor(() => calls.length > 0, { what: "the call", everyMs: 1 });
  expect(items()).toEqual([[1, 2]]);
  calls[0]?.end();
  await drained;
});

test("every item goes out once, in order, whatever the interleaving", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 1, max: 4 }),
      fc.array(fc.constantFrom("add", "turn", "end"), { maxLength: 60 }),
      async (maxInFlight, maxItems, steps) => {
        const { batcher, calls, items } = heldBatcher(maxInFlight, { maxItems });
        let added = 0;
        let ended = 0;
        for (const step of steps) {
          if (step === "add") batcher.add(added++);
          else if (step === "turn") await nextTurn();
          else if (ended < calls.length) calls[ended++]?.end();
          expect(calls.length - ended).toBeLessThanOrEqual(maxInFlight);
        }
        const drained = batcher.drained();
        while (calls.length > ended || batcher.waiting > 0) {
          if (ended < calls.length) calls[ended++]?.end();
          await nextTurn();
        }
        await drained;
        expect(items().flat()).toEqual(Array.from({ length: added }, (_, i) => i));
      },
    ),
    { numRuns: 100 },
  );
});

test("a flush sends lingering items in the next turn", async () => {
  const { batcher, items } = heldBatcher(1, { lingerMs: 60_000 });
  batcher.flush();
  batcher.add(1);
  await nextTurn();
  expect(items()).toEqual([]);
  batcher.flush();
  await nextTurn();
  expect(items()).toEqual([[1]]);
});

test("a flush during a call sends waiting items right after it", async () => {
  const { batcher, calls, items } = heldBatcher(1, { lingerMs: 60_000 });
  batcher.add(1);
  batcher.flush();
  await nextTurn();
  batcher.add(2);
  batcher.flush();
  calls[0]?.end();
  await waitFor(() => items().length === 2, { what: "the second call" });
  expect(items()).toEqual([[1], [2]]);
});

test("waiting items can be taken back: they are in no call, and nobody waits for them", async () => {
  const { batcher, calls, items } = heldBatcher(1);
  batcher.add(1);
  await nextTurn();
  for (const item of [2, 3, 4, 5]) batcher.add(item);
  expect(batcher.takeBack((item) => item % 2 === 0)).toEqual([2, 4]);
  expect(batcher.waiting).toBe(2);
  calls[0]?.end();
  await nextTurn();
  await nextTurn();
  expect(items()).toEqual([[1], [3, 5]]);
  calls[1]?.end();
  await batcher.drained();
  batcher.add(6);
  expect(batcher.takeBack(() => true)).toEqual([6]);
  await batcher.drained();
  expect(batcher.isIdle).toBe(true);
});

test("drops and reports abandoned items before the next call", async () => {
  const over = new Set<number>();
  const dropped: number[] = [];
  const { batcher, calls, items } = heldBatcher(1, {
    isOver: (item) => over.has(item),
    onDropped: (item) => dropped.push(item),
  });
  batcher.add(1);
  await nextTurn();
  for (const item of [2, 3, 4]) batcher.add(item);
  // Under way: too late to drop.
  for (const item of [1, 2, 3]) over.add(item);
  calls[0]?.end();
  await nextTurn();
  await nextTurn();
  expect(items()).toEqual([[1], [4]]);
  expect(dropped).toEqual([2, 3]);
  batcher.add(5);
  over.add(5);
  const drained = batcher.drained();
  calls[1]?.end();
  await drained;
  expect(items()).toHaveLength(2);
});
