// Tests how long the reconciler rests: a round over few users is short, and must not begin again and again.
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { partitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { afterEach, expect, test, vi } from "vitest";
import { HeldPartition } from "../own/held-partition.js";
import { createReconciler } from "./reconcile-partitions.js";

afterEach(() => void vi.useRealTimers());

const DEFAULT_INTERVAL_MS = 250;

async function countRounds(owns: boolean, forMs: number): Promise<number> {
  vi.useFakeTimers();
  let rounds = 0;
  const clock = { monotonicMs: () => performance.now(), wallMs: () => Date.now() };
  const term = { endsAtMs: Number.POSITIVE_INFINITY, serverUntilMs: 0 };
  const held = new HeldPartition(partitionKeys(0), "1", term, clock);
  const reconciler = createReconciler({
    // A server without keys.
    scripts: { redis: { scan: () => Promise.resolve(["0", []]) } } as unknown as ScriptRunner,
    owner: { open: owns ? [held] : [], lose: () => undefined },
    metrics: { hanging: () => undefined, reconciled: () => void rounds++ },
    overdueMs: 1,
    idleMs: 1,
    recordKeepMs: 1,
    intervalMs: DEFAULT_INTERVAL_MS,
    logger: createLogger({ service: "test", level: "silent" }),
  });
  reconciler.start();
  await vi.advanceTimersByTimeAsync(forMs);
  await reconciler.stop();
  return rounds;
}

test("a round begins every 30 s, the first at once", async () => {
  expect(await countRounds(true, 0)).toBe(1);
  expect(await countRounds(true, 29_900)).toBe(1);
  expect(await countRounds(true, 30_100)).toBe(2);
});

test("until a partition is owned it looks again soon", async () => {
  expect(await countRounds(false, 4 * DEFAULT_INTERVAL_MS + 10)).toBe(5);
});
