// collect/open-collect-archive, push-node/archive-publications -> here -> archive-writer: the writer, as configured.
// Guarantees: the archive is not contacted before the first row; its link closes at the stop.
import type { Logger } from "../../kernel/logging/logging.js";
import type { Lifecycle } from "../../kernel/lifecycle/lifecycle.js";
import type { Registry } from "../../kernel/metrics/metrics.js";
import type { MessageArchive } from "../message-archive.js";
import { createArchiveMetrics } from "./archive-metrics.js";
import { ArchiveWriter, type RowSpool } from "./archive-writer.js";

export interface ArchiveWriterService {
  readonly metrics: Registry;
  readonly logger: Logger;
  readonly lifecycle: Pick<Lifecycle, "onStop">;
}

/** @param spool undefined if the archive is required */
export function openArchiveWriter(
  archive: MessageArchive,
  spool: RowSpool | undefined,
  { metrics, logger, lifecycle }: ArchiveWriterService,
): ArchiveWriter {
  const writer = new ArchiveWriter({ archive, spool, metrics: createArchiveMetrics(metrics), logger });
  lifecycle.onStop("archive", async () => {
    writer.close();
    await archive.close();
  });
  return writer;
}
