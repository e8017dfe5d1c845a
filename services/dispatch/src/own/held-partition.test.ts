// Tests what a lease allows.
// Guarantees: by a stepped clock, so that a suspension is one line.
import { partitionKeys } from "@petrel/shared/redis/keys";
import { beforeEach, expect, test } from "vitest";
import { HeldPartition } from "./held-partition.js";

let nowMs: number;
let held: HeldPartition;
beforeEach(() => {
  nowMs = 1_000;
  const clock = { wallMs: () => 0, monotonicMs: () => nowMs };
  held = new HeldPartition(partitionKeys(0), "1.x", { endsAtMs: 2_000, serverUntilMs: 7 }, clock);
});

test("runs a step while the lease lasts, and not after its end", async () => {
  let ran = 0;
  const step = async (): Promise<void> => void ran++;
  nowMs = 1_999;
  expect(await held.runStep(step)).toBe(true);
  nowMs = 2_000;
  expect(held.isHeld).toBe(false);
  expect(await held.runStep(step)).toBe(false);
  expect(ran).toBe(1);
});

test("a renewal extends the end", () => {
  held.extend({ endsAtMs: 3_000, serverUntilMs: 8 });
  nowMs = 2_500;
  expect(held.isOpen).toBe(true);
  expect(held.leaseEndsAtServerMs).toBe(8);
});

test("a lost lease stays lost, even after a renewal", () => {
  held.lose();
  held.extend({ endsAtMs: 9_000, serverUntilMs: 8 });
  expect(held.isHeld).toBe(false);
});

test("giving back waits for the current step, which still holds the lease, and lets no other begin", async () => {
  let finish = (): void => undefined;
  const under = held.runStep(() => new Promise<void>((resolve) => (finish = resolve)));
  let closed = false;
  const closing = held.close().then(() => (closed = true));
  expect(held.isHeld).toBe(true);
  expect(held.isOpen).toBe(false);
  expect(await held.runStep(async () => undefined)).toBe(false);
  expect(closed).toBe(false);
  finish();
  await under;
  await closing;
  expect(closed).toBe(true);
});

test("a step that fails still ends", async () => {
  await expect(held.runStep(() => Promise.reject(new Error("no")))).rejects.toThrow("no");
  await held.close();
});
