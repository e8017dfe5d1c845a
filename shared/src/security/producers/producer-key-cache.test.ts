// Tests how old a remembered key may be, while the store answers and while it does not. The clock is the test's; the
// store answers when the test lets it.
import { beforeEach, expect, test, vi } from "vitest";
import { ProducerKeyCache } from "./producer-key-cache.js";

const TTL_MS = 1_000;
const STALE_MS = 30_000;

/** One read of the store. */
interface Asked {
  readonly answer: (key: string | undefined) => void;
  readonly fail: () => void;
}

let nowMs: number;
let asked: Asked[];
let store: "up" | "down" | "silent";
let stored: string | undefined;
let cache: ProducerKeyCache<string>;

function open(options: { patienceMs?: number; lookUpDeadlineMs?: number } = {}): ProducerKeyCache<string> {
  return new ProducerKeyCache<string>({
    ttlMs: TTL_MS,
    staleMs: STALE_MS,
    lookUpDeadlineMs: 0,
    patienceMs: 20,
    maxEntries: 100,
    clock: { monotonicMs: () => nowMs, wallMs: () => nowMs },
    ...options,
    read: () =>
      new Promise((answer, reject) => {
        const fail = (): void => reject(new Error("connect ECONNREFUSED"));
        asked.push({ answer, fail });
        if (store === "up") answer(stored);
        else if (store === "down") fail();
      }),
  });
}

beforeEach(async () => {
  nowMs = 0;
  asked = [];
  store = "up";
  stored = "first";
  cache = open();
  await cache.find("k");
});

/** Lets background reads end. */
const behind = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("fresh: no read; near the end a read in the background; after it a read that is awaited", async () => {
  nowMs = 749;
  expect(cache.find("k")).toBe("first");
  expect(asked).toHaveLength(1);
  stored = "second";
  nowMs = 750;
  expect(cache.find("k")).toBe("first");
  expect(cache.find("k")).toBe("first");
  expect(asked).toHaveLength(2);
  await behind();
  expect(cache.find("k")).toBe("second");
  stored = "third";
  nowMs = 2_000;
  expect(await cache.find("k")).toBe("third");
});

test("with the store down: the last good record serves, first after the refusal, then at once", async () => {
  store = "down";
  nowMs = TTL_MS;
  expect(await cache.find("k")).toBe("first");
  for (nowMs = TTL_MS; nowMs < STALE_MS; nowMs += 100) expect(await cache.find("k")).toBe("first");
  nowMs = STALE_MS;
  await expect(cache.find("k")).rejects.toMatchObject({ code: "PETREL_UNAVAILABLE" });
});

test("bounds how often a store that is down is asked, and nobody waits meanwhile", async () => {
  store = "down";
  nowMs = TTL_MS;
  await cache.find("k");
  asked = [];
  for (nowMs = TTL_MS; nowMs < TTL_MS + 600; nowMs += 10) {
    expect(cache.find("k")).toBe("first");
    await Promise.resolve();
  }
  expect(asked.length).toBeLessThanOrEqual(3);
});

test("with a silent store: the first waits for its patience, nobody after it", async () => {
  store = "silent";
  nowMs = TTL_MS;
  const waiting = cache.find("k");
  expect(waiting).toBeInstanceOf(Promise);
  const shared = cache.find("k");
  expect(asked).toHaveLength(2);
  expect([await waiting, await shared]).toEqual(["first", "first"]);
  expect(cache.find("k")).toBe("first");
  // The earlier read is overdue, so one more starts in the background.
  nowMs += 500;
  expect(cache.find("k")).toBe("first");
  expect(asked).toHaveLength(3);
});

test("revoked: refused as soon as the store says so, even if the answer comes late", async () => {
  store = "silent";
  nowMs = TTL_MS;
  expect(await cache.find("k")).toBe("first");
  const { forgotten } = cache;
  asked[1]?.answer(undefined);
  await vi.waitFor(() => expect(cache.forgotten).toBe(forgotten + 1));
  expect(await cache.find("k")).toBeUndefined();
});

test("revoked while the store was away: refused within a second of its return, however rarely it is used", async () => {
  store = "down";
  nowMs = TTL_MS;
  await cache.find("k");
  nowMs = 10_000;
  await cache.find("k");
  store = "up";
  stored = undefined;
  // In use: the next read runs in the background, and the one after that is refused.
  nowMs = 10_250;
  expect(cache.find("k")).toBe("first");
  await vi.waitFor(async () => expect(await cache.find("k")).toBeUndefined());
});

test("revoked while the store was away, and unused for a while: the first use is refused", async () => {
  store = "down";
  nowMs = TTL_MS;
  await cache.find("k");
  store = "up";
  stored = undefined;
  nowMs = TTL_MS + 750;
  expect(await cache.find("k")).toBeUndefined();
});

test("ignores an answer that a later one has overtaken", async () => {
  store = "silent";
  nowMs = TTL_MS;
  await cache.find("k");
  nowMs = TTL_MS + 500;
  void cache.find("k");
  asked[2]?.answer("newer");
  await vi.waitFor(() => expect(cache.find("k")).toBe("newer"));
  asked[1]?.answer("older");
  await Promise.resolve();
  await Promise.resolve();
  expect(cache.find("k")).toBe("newer");
});

test("does not keep a read that was running when the key was invalidated", async () => {
  store = "silent";
  nowMs = TTL_MS;
  const waiting = cache.find("k");
  cache.forget("k");
  asked[1]?.answer("from before");
  await waiting;
  store = "up";
  stored = "from after";
  expect(await cache.find("k")).toBe("from after");
});

test("asks for an uncached key until the deadline", async () => {
  cache = open({ lookUpDeadlineMs: 60_000 });
  store = "down";
  const waiting = cache.find("k");
  await vi.waitFor(() => expect(asked.length).toBeGreaterThan(3));
  store = "up";
  expect(await waiting).toBe("first");
  expect(cache.hasSeen("k")).toBe(true);

  cache = open({ lookUpDeadlineMs: 1_000 });
  store = "down";
  asked = [];
  const late = expect(cache.find("k")).rejects.toMatchObject({ code: "PETREL_UNAVAILABLE" });
  await vi.waitFor(() => expect(asked.length).toBeGreaterThan(1));
  nowMs += 1_000;
  await late;
});
