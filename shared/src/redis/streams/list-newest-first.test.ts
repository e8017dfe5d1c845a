// Tests the pages of a list that is kept in several streams, on a real Redis.
// Guarantees: whatever the streams hold and however the pages are cut, the list is the model's: each listed entry once.
import * as fc from "fast-check";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { listNewestFirst, type ListedStream, type ListPlace } from "./list-newest-first.js";
import { fieldOf } from "./stream-entry.js";

interface Item extends ListPlace {
  readonly kind: string;
}

const KEYS = ["{p0}:list:a", "{p0}:list:b", "{p0}:list:c"];

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

/** @param kind all kinds if it is not given */
function streamsOf(kind?: string): ListedStream<Item>[] {
  return KEYS.map((key, number) => ({
    key,
    number,
    decode: (entryId, fields) => {
      const item = { entryId, stream: number, kind: fieldOf(fields, "kind") };
      return kind === undefined || item.kind === kind ? item : undefined;
    },
  }));
}

async function add(stream: number, entryId: string, kind = "even"): Promise<void> {
  await store.redis.xadd(KEYS[stream] ?? "", entryId, "other", "kind", "kind", kind);
}

/** Reads all pages. @param between runs after each page */
async function readAll(
  options: { readonly limit: number; readonly readAtOnce: number; readonly kind?: string | undefined },
  between: () => Promise<void> = async () => undefined,
): Promise<Item[]> {
  const { kind, ...rest } = options;
  const all: Item[] = [];
  let after: ListPlace | undefined;
  for (;;) {
    const { items, next } = await listNewestFirst(store.redis, streamsOf(kind), { ...rest, after });
    expect(items.length).toBeLessThanOrEqual(rest.limit);
    all.push(...items);
    if (next === undefined) return all;
    after = next;
    await between();
  }
}

/** Few different ids, so that streams share many. */
const ids = fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 0, max: 2 })), {
  selector: ([ms, number]) => `${ms}-${number}`,
  maxLength: 12,
});

test("all pages together match the model's list", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.tuple(ids, ids, ids),
      fc.integer({ min: 1, max: 7 }),
      fc.integer({ min: 1, max: 5 }),
      fc.constantFrom(undefined, "odd", "even"),
      async (streams, limit, readAtOnce, kind) => {
        await store.clear();
        const model: (Item & { readonly ms: number; readonly n: number })[] = [];
        for (const [stream, entries] of streams.entries()) {
          for (const [ms, n] of entries.toSorted((a, b) => a[0] - b[0] || a[1] - b[1])) {
            const its = (ms + n) % 2 === 0 ? "even" : "odd";
            await add(stream, `${ms}-${n}`, its);
            if (kind === undefined || kind === its)
              model.push({ entryId: `${ms}-${n}`, stream, kind: its, ms, n });
          }
        }
        model.sort((a, b) => b.ms - a.ms || b.n - a.n || a.stream - b.stream);
        expect(await readAll({ limit, readAtOnce, kind })).toEqual(
          model.map(({ entryId, stream, kind: its }) => ({ entryId, stream, kind: its })),
        );
      },
    ),
    { numRuns: 60 },
  );
});

test("entries added between two pages move none of the others", async () => {
  for (const stream of [0, 1, 2]) for (const ms of [1, 2, 3]) await add(stream, `${ms}-0`);
  let later = 10;
  const all = await readAll({ limit: 2, readAtOnce: 2 }, () => add(later % 3, `${later++}-0`));
  expect(all.map(({ entryId, stream }) => `${stream}:${entryId}`)).toEqual([
    "0:3-0",
    "1:3-0",
    "2:3-0",
    "0:2-0",
    "1:2-0",
    "2:2-0",
    "0:1-0",
    "1:1-0",
    "2:1-0",
  ]);
});
