// start-collect -> here -> archive-first: collect's side of the message archive, if one is configured.
// Guarantees: without one there is no wrapper, no link, and no code of the driver.
import { openArchive } from "@petrel/shared/archive/open-archive";
import { openArchiveWriter } from "@petrel/shared/archive/writing/open-archive-writer";
import type { MessageArchive, NewRow } from "@petrel/shared/archive/message-archive";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { ArchiveSpool } from "@petrel/shared/redis/spool/archive-spool";
import type { Service } from "@petrel/shared/service/open-service";
import type { StoreMessage } from "../accept/store-message.js";
import type { UserEraser } from "@petrel/shared/redis/erasure/erase-user";
import { archiveFirst } from "./archive-first.js";
import { eraseWithArchive } from "./erase-with-archive.js";

export interface CollectArchiveConfig {
  readonly messageArchiveUrl: string | undefined;
  readonly archiveDays: number;
  readonly archiveTimeoutMs: number;
  readonly archiveRequired: boolean;
  readonly archiveSpoolCap: number;
}

export interface CollectArchive {
  readonly archive: Pick<MessageArchive, "find" | "list">;
  /** Wraps a store, so that each message is written to the archive first. */
  readonly first: (store: StoreMessage) => StoreMessage;
  readonly eraser: (eraser: Pick<UserEraser, "erase">) => Pick<UserEraser, "erase">;
}

export async function openCollectArchive(
  config: CollectArchiveConfig,
  { metrics, logger, lifecycle, clock }: Pick<Service, "metrics" | "logger" | "lifecycle" | "clock">,
  { scripts, partitions }: { readonly scripts: ScriptRunner; readonly partitions: readonly PartitionKeys[] },
): Promise<CollectArchive | undefined> {
  const archive = await openArchive(config, logger);
  if (archive === undefined) return undefined;
  const spool = new ArchiveSpool<NewRow>({
    redis: scripts.redis,
    partitions,
    cap: config.archiveSpoolCap,
  });
  const writer = openArchiveWriter(archive, config.archiveRequired ? undefined : spool, {
    metrics,
    logger,
    lifecycle,
  });
  return {
    archive,
    first: (store) => archiveFirst(store, writer, clock),
    eraser: (eraser) =>
      eraseWithArchive(eraser, { archive, spool, partitionCount: partitions.length, clock }),
  };
}
