// start-collect, start-dispatch, the CLI -> here: the archive as configured.
// Guarantees: without a URL, no part of the driver is loaded. Does not wait for the server.
import type { Logger } from "../kernel/logging/logging.js";
import type { MessageArchive } from "./message-archive.js";

export interface ArchiveSettings {
  readonly messageArchiveUrl: string | undefined;
  readonly archiveDays: number;
  readonly archiveTimeoutMs: number;
}

/** @returns undefined if none is configured */
export async function openArchive(
  { messageArchiveUrl: url, archiveDays: keepDays, archiveTimeoutMs: timeoutMs }: ArchiveSettings,
  logger: Logger,
): Promise<MessageArchive | undefined> {
  if (url === undefined) return undefined;
  const { MongoArchive } = await import("./mongo-archive.js");
  return new MongoArchive({ url, keepDays, timeoutMs, logger });
}
