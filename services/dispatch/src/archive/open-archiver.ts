// open-dispatcher -> here -> archiver: the archiver, wired.
// Guarantees: nothing runs before `start`.
import type { MessageArchive, NewRow } from "@petrel/shared/archive/message-archive";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { Registry } from "@petrel/shared/kernel/metrics/metrics";
import { MessageAccepter } from "@petrel/shared/redis/accept/accept-batch";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { MessageScheduler } from "@petrel/shared/redis/schedules/schedule-messages";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { ArchiveSpool } from "@petrel/shared/redis/spool/archive-spool";
import type { PartitionOwner } from "../own/own-partitions.js";
import { Archiver } from "./archiver.js";
import { createArchiverMetrics } from "./archiver-metrics.js";

export interface OpenArchiverOptions {
  readonly config: {
    readonly ackTimeoutMs: number;
    readonly inboxCap: number;
    readonly readyCap: number;
    readonly fallbackCap: number;
    readonly recordKeepHours: number;
    readonly redrivePerSecond: number;
  };
  readonly scripts: ScriptRunner;
  readonly partitions: readonly PartitionKeys[];
  readonly owner: Pick<PartitionOwner, "open">;
  readonly archive: MessageArchive;
  readonly registry: Registry;
  readonly logger: Logger;
}

const HOUR_MS = 60 * 60 * 1_000;
/** No cap: these were within the bound when they were first accepted. */
const NO_CAP = 10_000_000;

export function openArchiver({
  config,
  scripts,
  partitions,
  owner,
  archive,
  registry,
  logger,
}: OpenArchiverOptions): Archiver {
  return new Archiver({
    scripts,
    owner,
    archive,
    spool: new ArchiveSpool<NewRow>({ redis: scripts.redis, partitions, cap: 0 }),
    // No rate limit: users were sent these before.
    accepter: new MessageAccepter({
      scripts,
      partitions,
      ackTimeoutMs: config.ackTimeoutMs,
      inboxCap: config.inboxCap,
      readyCap: config.readyCap,
      fallbackCap: config.fallbackCap,
      recordKeepMs: config.recordKeepHours * HOUR_MS,
      handOver: "accept",
      maxInFlight: 1,
    }),
    scheduler: new MessageScheduler({ scripts, partitions, maxInFlight: 1, cap: NO_CAP }),
    metrics: createArchiverMetrics(registry),
    logger,
    redrivePerSecond: config.redrivePerSecond,
  });
}
