// Tests how an inbox is read.
// Guarantees: ascending, nothing skipped; a page exceeds its bounds only by the entry that passes them.
import * as fc from "fast-check";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { readInbox } from "./read-inbox.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

async function accept(dataList: readonly string[]): Promise<void> {
  const accepter = store.accepter();
  await Promise.all(dataList.map((data) => accepter.accept(message({ data }))));
}

const read = (after: number, maxEntries: number, maxBytes: number) =>
  readInbox(store.scripts, store.keys, "u1", after, { maxEntries, maxBytes });
const seqs = async (...bounds: Parameters<typeof read>) =>
  (await read(...bounds)).messages.map(({ seq }) => seq);

test("reads messages as they were stored", async () => {
  await store
    .accepter()
    .accept(message({ id: "m1", data: `{"a":"ü"}`, priority: "low", notification: `{"title":"t"}` }));
  expect((await read(0, 10, 10_000)).messages).toMatchObject([
    {
      seq: 1,
      id: "m1",
      data: `{"a":"ü"}`,
      priority: "low",
      fallback: "offline",
      notification: `{"title":"t"}`,
    },
  ]);
});

test("a page begins above `after` and is bounded by number", async () => {
  await accept(Array.from({ length: 40 }, () => "1"));
  expect(await seqs(0, 3, 1_000_000)).toEqual([1, 2, 3]);
  expect(await seqs(3, 3, 1_000_000)).toEqual([4, 5, 6]);
  expect(await seqs(38, 3, 1_000_000)).toEqual([39, 40]);
  expect(await seqs(0, 17, 1_000_000)).toHaveLength(17);
  expect(await seqs(40, 3, 1_000_000)).toEqual([]);
  expect(await seqs(99, 3, 1_000_000)).toEqual([]);
});

test("a page ends with the message that exceeds its bytes, so that each page makes progress", async () => {
  await accept(Array.from({ length: 5 }, () => JSON.stringify("x".repeat(1_000))));
  expect(await seqs(0, 100, 1)).toEqual([1]);
  expect(await seqs(0, 100, 2_000)).toEqual([1, 2]);
  expect(await seqs(2, 100, 2_000)).toEqual([3, 4]);
});

test("an unknown user's inbox is empty", async () => {
  expect(await read(0, 10, 10_000)).toMatchObject({ messages: [], isTrimmed: false, isHeld: false });
});

test("pages together read everything once, in order, whatever the bounds", async () => {
  await accept(Array.from({ length: 60 }, (_, i) => JSON.stringify("x".repeat((i * 37) % 400))));
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 6_000 }),
      async (entries, bytes) => {
        const all: number[] = [];
        for (;;) {
          const page = await seqs(all.at(-1) ?? 0, entries, bytes);
          if (page.length === 0) break;
          expect(page.length).toBeLessThanOrEqual(entries);
          all.push(...page);
        }
        expect(all).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
      },
    ),
    { numRuns: 30 },
  );
});
