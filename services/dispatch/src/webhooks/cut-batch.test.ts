// Tests how events are cut into batches, and that a batch is made again byte by byte or not at all.
import type { EventPosition } from "@petrel/shared/protocol/events/event-position";
import type { PartitionEvents, PositionedEvent } from "@petrel/shared/redis/events/read-partition-events";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { cutBatch, remakeBatch } from "./cut-batch.js";

const at = (ms: number): EventPosition => ({ mark: 1, ms, n: 0 });

function event(ms: number, size = 10): PositionedEvent {
  const data = { channel: "x".repeat(size) };
  const item = {
    id: `0.${ms}`,
    type: "message.pushed",
    at: new Date(ms).toISOString(),
    user: "u",
    data,
  } as const;
  return { item, position: at(ms) };
}

const page = (events: readonly PositionedEvent[], gap = false): PartitionEvents => ({
  events,
  begins: at(0),
  next: at(1_000_000),
  gap,
  hasMore: true,
});

test("has at most a hundred events, and the rest begins after the last of them", () => {
  const events = Array.from({ length: 130 }, (_, i) => event(i + 1));
  const batch = cutBatch(page(events), false, 0);
  expect(batch?.events).toBe(100);
  expect(batch?.open.end).toEqual(at(100));
  expect(cutBatch(page(events.slice(0, 7)), false, 0)?.open.end).toEqual(at(1_000_000));
  expect(cutBatch(page([]), false, 0)).toBeUndefined();
});

test("has at most 20 KB; a longer event goes alone", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 30_000 }), { minLength: 1, maxLength: 20 }), (sizes) => {
      let left = sizes.map((size, i) => event(i + 1, size));
      while (left.length > 0) {
        const batch = cutBatch(page(left), false, 0);
        if (batch === undefined) throw new Error("nothing was cut");
        const { body, events } = batch;
        if (Buffer.byteLength(body) > 20_000) expect(events).toBe(1);
        else if (events < left.length) {
          const more = cutBatch(page(left.slice(0, events + 1)), false, 0);
          expect(more?.events).toBe(events);
        }
        expect((JSON.parse(body) as Body).data.items).toEqual(left.slice(0, events).map(({ item }) => item));
        left = left.slice(events);
      }
    }),
    { numRuns: 100 },
  );
});

interface Body {
  readonly type: string;
  readonly timestamp: string;
  readonly data: { readonly items: readonly unknown[]; readonly gap?: boolean };
}

test("its body has a type; a gap only if there is one", () => {
  const one = event(5);
  const body = JSON.parse(cutBatch(page([one]), false, 1_700_000_000_000)?.body ?? "") as Body;
  expect(body).toEqual({
    type: "events",
    timestamp: "2023-11-14T22:13:20.000Z",
    data: { items: [one.item] },
  });
  expect((JSON.parse(cutBatch(page([one]), true, 0)?.body ?? "") as Body).data.gap).toBe(true);
});

test("is rebuilt from the same events, whatever came after them", () => {
  const events = Array.from({ length: 130 }, (_, i) => event(i + 1));
  const batch = cutBatch(page(events), false, 5);
  if (batch === undefined) throw new Error("nothing was cut");
  const again = remakeBatch(page([...events, event(500)]), batch.open);
  expect(again).toEqual(batch);
  // Under another mark its events stand in the same places.
  const moved = events.map((one) => ({ ...one, position: { ...one.position, mark: 2 } }));
  expect(remakeBatch(page(moved), batch.open)?.body).toBe(batch.body);
});

test("is not rebuilt if it would differ", () => {
  const events = [event(1), event(2), event(3)];
  const batch = cutBatch(page(events), false, 5);
  if (batch === undefined) throw new Error("nothing was cut");
  expect(remakeBatch(page(events.slice(1)), batch.open)).toBeUndefined();
  expect(remakeBatch(page([]), batch.open)).toBeUndefined();
  expect(remakeBatch(page(events, true), batch.open)).toBeUndefined();
});
