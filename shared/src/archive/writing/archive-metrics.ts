// archive-writer -> here: what collect and push-node measure of the message archive.
// Guarantees: counters only grow.
import { Counter, type Registry } from "../../kernel/metrics/metrics.js";

export interface ArchiveMetrics {
  readonly written: (rows: number) => void;
  /** Kept in Redis for later. */
  readonly spooled: (entries: number) => void;
  /** The spool was full, so these are never archived. */
  readonly lost: (entries: number) => void;
  /** The archive has stopped answering. */
  readonly failed: () => void;
}

export function createArchiveMetrics(registry: Registry): ArchiveMetrics {
  const rows = new Counter({
    name: "petrel_archive_rows_total",
    help: "Messages for the archive, by where they went: written, spooled in Redis, or lost because the spool was full",
    labelNames: ["to"],
    registers: [registry],
  });
  const failures = new Counter({
    name: "petrel_archive_failures_total",
    help: "How often the archive stopped answering",
    registers: [registry],
  });
  for (const to of ["written", "spooled", "lost"]) rows.inc({ to }, 0);
  return {
    written: (count) => rows.inc({ to: "written" }, count),
    spooled: (count) => rows.inc({ to: "spooled" }, count),
    lost: (count) => rows.inc({ to: "lost" }, count),
    failed: () => failures.inc(),
  };
}
