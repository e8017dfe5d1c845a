// own-partitions -> here -> redis/events/trim-events: removes events past their retention, in the partitions owned
// here.
// Guarantees: fenced, a bounded number per call; a failing partition does not delay the others.
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { Loop } from "@petrel/shared/kernel/loop";
import { trimEvents } from "@petrel/shared/redis/events/trim-events";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { HeldPartition } from "../own/held-partition.js";
import type { PartitionOwner } from "../own/own-partitions.js";
import type { EventMetrics } from "./event-metrics.js";

export interface EventTrimmerOptions {
  readonly scripts: ScriptRunner;
  readonly owner: Pick<PartitionOwner, "open" | "lose">;
  readonly metrics: Pick<EventMetrics, "trimmed">;
  readonly keepMs: number;
  readonly intervalMs: number;
  readonly logger: Logger;
}

export function createEventTrimmer(options: EventTrimmerOptions): Loop {
  return new Loop(async (signal) => {
    for (const held of options.owner.open) {
      if (signal.aborted) break;
      await trimPartition(options, held, signal);
    }
    return options.intervalMs;
  });
}

async function trimPartition(
  { scripts, owner, metrics, keepMs, logger }: EventTrimmerOptions,
  held: HeldPartition,
  signal: AbortSignal,
): Promise<void> {
  const { partition } = held.keys;
  try {
    for (let hasMore = true; hasMore && !signal.aborted;) {
      hasMore = false;
      await held.runStep(async () => {
        const result = await trimEvents(scripts, held.keys, held.token, keepMs);
        if (result === "stale") owner.lose(held, "trimming events was refused");
        else {
          metrics.trimmed(partition, result);
          hasMore = result.dropped > 0;
        }
      });
    }
  } catch (error) {
    logger.warn({ partition, reason: describeError(error) }, "events not trimmed: trying again");
  }
}
