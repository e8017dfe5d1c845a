// push-node/start-push-node, push-node/node/announce-node -> here -> shared/redis/nodes/node-reports: reports this node
// to operators, and carries out their requests.
// Guarantees: runs with each renewal of the node's key, so an idle node is not woken for it. A request is applied again
// and again, which is idempotent.
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { type NodeReport, reportNode, withdrawReport } from "@petrel/shared/redis/nodes/node-reports";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";

export interface NodeReporterOptions {
  readonly scripts: ScriptRunner;
  readonly nodeId: string;
  readonly ttlMs: number;
  readonly describe: () => NodeReport;
  /** @param isOn whether this node should drain */
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
      logger.debug({ reason: describeError(error) }, "node report not sent: the next heartbeat sends it");
    }
  }
}
