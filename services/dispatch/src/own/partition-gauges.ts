// own-partitions -> here: the backlogs of the partitions owned here, read from Redis at the scrape.
// Guarantees: one query serves all gauges of a scrape. A partition that does not answer is left out; the other metrics
// are still there.
import { Gauge, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import type { PartitionBacklog } from "@petrel/shared/redis/partitions/read-partition-backlog";

/** A message waits one to two acknowledgement timeouts before it is offered; after three its user is late. */
const LATE_AFTER_TIMEOUTS = 3;

export interface PartitionGauges {
  /** Numbers of the partitions owned now. */
  readonly owned: () => readonly number[];
  readonly read: (partition: number, lateAfterMs: number) => Promise<PartitionBacklog>;
  /** How long until a user who has not acknowledged is looked at. */
  readonly ackTimeoutMs: number;
}

const gauges: readonly (readonly [string, string, (backlog: PartitionBacklog) => number])[] = [
  [
    "petrel_dispatch_ready_length",
    "Messages waiting to be handed over, for each partition owned here",
    ({ ready }) => ready,
  ],
  [
    "petrel_dispatch_ready_oldest_seconds",
    "Age of the oldest message waiting to be handed over; 0 if there is none",
    ({ readyOldestMs }) => readyOldestMs / 1000,
  ],
  [
    "petrel_dispatch_due_users",
    "Users with an unacknowledged message, for each partition owned here",
    ({ dueUsers }) => dueUsers,
  ],
  [
    "petrel_dispatch_wake_lag_seconds",
    "How long the most overdue user has waited to be woken; 0 if none is due",
    ({ wakeLagMs }) => wakeLagMs / 1000,
  ],
  [
    "petrel_scheduled_messages",
    "Scheduled messages, for each partition owned here",
    ({ scheduled }) => scheduled,
  ],
  [
    "petrel_schedule_lag_seconds",
    "How long the most overdue scheduled message has waited; 0 if none is due",
    ({ scheduleLagMs }) => scheduleLagMs / 1000,
  ],
  [
    "petrel_undelivered_oldest_seconds",
    "Age of the oldest message found that is neither acknowledged nor offered to the fallback",
    ({ undeliveredOldestMs }) => undeliveredOldestMs / 1000,
  ],
  [
    "petrel_undelivered_users_sampled",
    "Users with an unacknowledged message in the random sample, for each partition owned here",
    ({ sampledUsers }) => sampledUsers,
  ],
  [
    "petrel_undelivered_users_late",
    "Of these, users with a message older than three ACK_TIMEOUT_MS that is neither acknowledged nor offered",
    ({ lateUsers }) => lateUsers,
  ],
];

export function addPartitionGauges(registry: Registry, { owned, read, ackTimeoutMs }: PartitionGauges): void {
  let underWay: Promise<ReadonlyMap<number, PartitionBacklog>> | undefined;
  const readOwned = async (): Promise<ReadonlyMap<number, PartitionBacklog>> => {
    const partitions = owned();
    const lateAfterMs = LATE_AFTER_TIMEOUTS * ackTimeoutMs;
    const results = await Promise.allSettled(partitions.map((partition) => read(partition, lateAfterMs)));
    return new Map(
      partitions.flatMap((partition, i) => {
        const result = results[i];
        return result?.status === "fulfilled" ? [[partition, result.value] as const] : [];
      }),
    );
  };
  const readOnce = (): Promise<ReadonlyMap<number, PartitionBacklog>> => {
    underWay ??= readOwned().finally(() => {
      underWay = undefined;
    });
    return underWay;
  };
  for (const [name, help, valueOf] of gauges) {
    registry.registerMetric(
      new Gauge({
        name,
        help,
        labelNames: ["partition"],
        registers: [],
        async collect() {
          const backlogs = await readOnce();
          this.reset();
          for (const [partition, backlog] of backlogs) this.set({ partition }, valueOf(backlog));
        },
      }),
    );
  }
  new Gauge({
    name: "petrel_dispatch_ack_timeout_seconds",
    help: "How long an acknowledgement may take before the user is woken, as configured on this dispatcher",
    registers: [registry],
  }).set(ackTimeoutMs / 1000);
}
