// push-node/leave/rebalance -> here -> nodes/report-load.lua: how many connections each push node has.
// Guarantees: a node that stops reporting is soon left out. A node keeps its joining time, even if Redis has lost it.
import { clusterKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface NodeLoad {
  readonly node: string;
  readonly connections: number;
  /** By Redis's clock. */
  readonly joinedAtMs: number;
}

export interface NodeLoadsOptions {
  readonly scripts: ScriptRunner;
  readonly nodeId: string;
  /** How long without a report until a node counts as gone. */
  readonly staleMs: number;
}

export class NodeLoads {
  readonly #options: NodeLoadsOptions;
  #joinedAtMs = 0;

  constructor(options: NodeLoadsOptions) {
    this.#options = options;
  }

  /** @returns all nodes, including this one */
  async report(connections: number): Promise<NodeLoad[]> {
    const loads = await this.#call(String(connections));
    this.#joinedAtMs =
      loads.find(({ node }) => node === this.#options.nodeId)?.joinedAtMs ?? this.#joinedAtMs;
    return loads;
  }

  /** The next report joins anew. */
  async leave(): Promise<void> {
    this.#joinedAtMs = 0;
    await this.#call("");
  }

  async #call(connections: string): Promise<NodeLoad[]> {
    const { scripts, nodeId, staleMs } = this.#options;
    const answer = await scripts.run(
      "report-load.v1",
      [clusterKeys.nodeLoads],
      [nodeId, connections, this.#joinedAtMs, staleMs],
    );
    return answer.split("\n").flatMap((line) => {
      const [node = "", count, joinedAt] = line.split("\t");
      return node === "" ? [] : [{ node, connections: Number(count), joinedAtMs: Number(joinedAt) }];
    });
  }
}
