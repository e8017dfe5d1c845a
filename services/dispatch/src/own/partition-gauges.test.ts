// What waits in the partitions owned here, as a reading shows it.
import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
import type { PartitionBacklog } from "@petrel/shared/redis/partitions/read-partition-backlog";
import { expect, test } from "vitest";
import { addPartitionGauges } from "./partition-gauges.js";

const backlog: PartitionBacklog = {
  ready: 3,
  readyOldestMs: 1_500,
  dueUsers: 7,
  wakeLagMs: 250,
  scheduled: 3,
  scheduleLagMs: 1_500,
  undeliveredOldestMs: 42_000,
  sampledUsers: 7,
  lateUsers: 2,
};

test("makes one query per partition and scrape; a partition without an answer, or given back, is not shown", async () => {
  const registry = createRegistry("dispatch");
  let owned = [0, 2];
  const asked: number[] = [];
  addPartitionGauges(registry, {
    owned: () => owned,
    read: async (partition, lateAfterMs) => {
      asked.push(partition);
      expect(lateAfterMs).toBe(30_000);
      if (partition === 2) throw new Error("Redis is away");
      return backlog;
    },
    ackTimeoutMs: 10_000,
  });
  const text = await registry.metrics();
  expect(asked).toEqual([0, 2]);
  for (const line of [
    'petrel_dispatch_ready_length{partition="0",component="dispatch"} 3',
    'petrel_dispatch_ready_oldest_seconds{partition="0",component="dispatch"} 1.5',
    'petrel_dispatch_due_users{partition="0",component="dispatch"} 7',
    'petrel_dispatch_wake_lag_seconds{partition="0",component="dispatch"} 0.25',
    'petrel_undelivered_oldest_seconds{partition="0",component="dispatch"} 42',
    'petrel_undelivered_users_sampled{partition="0",component="dispatch"} 7',
    'petrel_undelivered_users_late{partition="0",component="dispatch"} 2',
    'petrel_dispatch_ack_timeout_seconds{component="dispatch"} 10',
  ]) {
    expect(text).toContain(line);
  }
  expect(text).not.toContain('partition="2"');
  owned = [];
  expect(await registry.metrics()).not.toContain("partition=");
});
