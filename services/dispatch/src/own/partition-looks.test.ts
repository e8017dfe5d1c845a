// Tests the looks at partitions, which do not know what is looked at.
// Guarantees covered: one at a time for each partition, none held up by another's; each in its own time; a failure is
// retried; a stop waits for what is under way.
import { systemClock } from "@petrel/shared/kernel/clock";
import { CommonTicks } from "@petrel/shared/kernel/common-tick";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { partitionKeys } from "@petrel/shared/redis/keys";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterEach, expect, test } from "vitest";
import { HeldPartition } from "./held-partition.js";
import { PartitionLooks, type PartitionLooksOptions } from "./partition-looks.js";

const HOUR_MS = 3_600_000;
const [first, second] = [0, 1].map(
  (partition) =>
    new HeldPartition(
      partitionKeys(partition),
      "1.x",
      { endsAtMs: Number.POSITIVE_INFINITY, serverUntilMs: Number.POSITIVE_INFINITY },
      systemClock,
    ),
) as [HeldPartition, HeldPartition];

let looks: PartitionLooks | undefined;
afterEach(() => looks?.stop());

/** Depth of `together`, and how many looks began in each. */
let depth = 0;
const began: number[] = [];
function together<T>(task: () => T): T {
  depth++;
  began.push(0);
  try {
    return task();
  } finally {
    depth--;
  }
}

function start(open: HeldPartition[], look: PartitionLooksOptions["look"], retryMs = 0): PartitionLooks {
  looks = new PartitionLooks({
    scripts: { together },
    owner: { open },
    clock: systemClock,
    ticks: new CommonTicks(),
    logger: createLogger({ service: "test", level: "silent" }),
    everyMs: 5,
    retryMs,
    failed: "a look failed",
    look,
  });
  looks.start();
  return looks;
}

test("a look that does not end is not started again and blocks no other partition; a stop waits for it", async () => {
  const counts = new Map<HeldPartition, number>();
  let end = (): void => undefined;
  const stuck = new Promise<void>((resolve) => (end = resolve));
  let isStopping = false;
  const running = start([first, second], async (held, signal) => {
    counts.set(held, (counts.get(held) ?? 0) + 1);
    signal.addEventListener("abort", () => (isStopping = true));
    if (held === first) await stuck;
    return 0;
  });
  await waitFor(() => (counts.get(second) ?? 0) >= 5, { what: "looks at the second" });
  expect(counts.get(first)).toBe(1);
  let isOver = false;
  const stopped = running.stop().then(() => (isOver = true));
  await waitFor(() => isStopping, { what: "the signal" });
  expect(isOver).toBe(false);
  end();
  await stopped;
});

test("each partition has its own time, and a new one is checked soon", async () => {
  const counts = new Map<HeldPartition, number>();
  const open = [first];
  start(open, (held) => {
    counts.set(held, (counts.get(held) ?? 0) + 1);
    return Promise.resolve(held === first ? 100 : 0);
  });
  await waitFor(() => counts.get(first) === 1, { what: "the first look" });
  open.push(second);
  await waitFor(() => (counts.get(second) ?? 0) >= 5, { what: "looks at the new one" });
  await waitFor(() => (counts.get(first) ?? 0) >= 2, { what: "the first one's time" });
});

test("repeats a failed look after the retry time", async () => {
  let count = 0;
  start(
    [first],
    () => {
      count++;
      return count < 3 ? Promise.reject(new Error("gone")) : Promise.resolve(HOUR_MS);
    },
    1,
  );
  await waitFor(() => count === 3, { what: "the third try" });
});

test("pipelines the first queries of a round", async () => {
  began.length = 0;
  const depths: number[] = [];
  start([first, second], () => {
    depths.push(depth);
    began[began.length - 1] = (began.at(-1) ?? 0) + 1;
    return Promise.resolve(HOUR_MS);
  });
  await waitFor(() => depths.length === 2, { what: "both looks" });
  expect([depths, began[0]]).toEqual([[1, 1], 2]);
});
