// Tests the lock of all tabs against a browser that takes it away, or refuses it.
// Guarantees: a loss is told at once; a refusal is not asked about again in the same turn.
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { TabLock, type Locks } from "./tab-lock.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Asks again whenever it has lost it, as a tab does. */
function persistent(request: Locks["request"]): { readonly granted: number[]; readonly lost: number[] } {
  const told = { granted: [] as number[], lost: [] as number[] };
  const lock = new TabLock({ request, query: () => Promise.resolve() }, "petrel", {
    onGranted: () => told.granted.push(Date.now()),
    onLost: () => {
      told.lost.push(Date.now());
      lock.request(false);
    },
  });
  lock.request(false);
  return told;
}

async function turns(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve();
}

it("asks a refusing browser again later, not endlessly in the same turn", async () => {
  let asked = 0;
  const told = persistent(() => {
    // So that a test that fails ends.
    if (++asked > 10) return new Promise(() => undefined);
    return Promise.reject(new DOMException("not now", "InvalidStateError"));
  });
  await turns();
  expect(asked).toBe(1);
  await vi.advanceTimersByTimeAsync(1_000);
  expect([asked, told.lost.length]).toEqual([2, 1]);
});

it("tells a holder at once that its lock was stolen", async () => {
  let steal: (() => void) | undefined;
  let asked = 0;
  const told = persistent((_name, _options, hold) => {
    if (++asked > 1) return new Promise(() => undefined);
    void hold();
    return new Promise(
      (_resolve, reject) => (steal = () => reject(new DOMException("stolen", "AbortError"))),
    );
  });
  steal?.();
  await turns();
  expect([told.granted.length, told.lost.length, asked]).toEqual([1, 1, 2]);
});
