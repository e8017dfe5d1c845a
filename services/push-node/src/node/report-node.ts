// push-node/start-push-node, push-node/node/announce-node -> here -> shared/redis/nodes/node-reports: tells operators of
// this node, and does what they ask.
// Guarantees: with each beat of the node's presence, so an idle node is not woken for it; what was asked is applied again
// and again, and applying it twice is once.
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { type NodeReport, reportNode, withdrawReport } from "@petrel/shared/redis/nodes/node-reports";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";

export interface NodeReporterOptions {
  readonly scripts: ScriptRunner;
  readonly nodeId: string;
  readonly ttlMs: number;
  readonly describe: () => NodeReport;
  /** @param isOn whether this node shall drain */
  readonly onAsked: (isOn: boolean) => void;
  readonly logger: Logger;
}

export class NodeReporter {
  readonly #options: NodeReporterOptions;
  #isStopped = false;

  constructor(options: NodeReporterOptions) {
    this.#options = options;
  }

  beat(): void {
    void this.#report();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await withdrawReport(this.#options.scripts, this.#options.nodeId);
  }

  async #report(): Promise<void> {
    const { scripts, nodeId, ttlMs, describe, onAsked, logger } = this.#options;
    try {
      const asked = await reportNode(scripts, nodeId, ttlMs, describe());
      if (asked !== undefined && !this.#isStopped) onAsked(asked);
    } catch (error) {
      logger.debug({ reason: describeError(error) }, "node not reported: the next beat does it");
    }
  }
}
