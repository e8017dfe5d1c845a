// push-node/presence/open-presence -> here -> push-node/presence/report-partition: what this node holds, in all
// partitions.
// Guarantees: one lease per partition, and none if nobody is held. After a planned stop everybody is gone once the
// grace is over.
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { PartitionReport, type PartitionReportOptions } from "./report-partition.js";
import type { HeldUser } from "./held-presence.js";

export interface PresenceReportsOptions extends Omit<PartitionReportOptions, "keys"> {
  readonly partitions: readonly PartitionKeys[];
  /** How long users stay after a planned stop. */
  readonly graceMs: number;
}

export class PresenceReports {
  readonly #options: PresenceReportsOptions;
  readonly #reports: ReadonlyMap<PartitionKeys, PartitionReport>;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: PresenceReportsOptions) {
    this.#options = options;
    this.#reports = new Map(
      options.partitions.map((keys) => [keys, new PartitionReport({ ...options, keys })]),
    );
  }

  changed(user: HeldUser): void {
    this.#reports.get(user.keys)?.changed(user);
  }

  start(): void {
    this.#timer ??= setInterval(() => this.renewAll(), this.#options.leaseMs / 3);
  }

  /** Also checks, after this node's link was down, whether all reports are still known. */
  renewAll(): void {
    for (const report of this.#reports.values()) report.renew();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all([...this.#reports.values()].map((report) => report.stop(this.#options.graceMs)));
  }
}
