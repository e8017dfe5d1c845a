// push-node/start-push-node -> here -> push-node/leave/plan-rebalance, nodes/node-loads: after a scale-up this node
// asks some of its clients to move, slowly.
// Guarantees: off unless a rate is set, and never faster. Nobody moves before the set of nodes has been stable for a
// while, nor while this node stops, its clients move anyway, or a crowd waits for admission. A client that moves in
// time is never without a socket, and a message on its way reaches one of the two.
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import type { NodeLoad, NodeLoads } from "@petrel/shared/redis/nodes/node-loads";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { Connection } from "../connection/connection.js";
import type { ConnectionRegistry } from "../connection/connection-registry.js";
import { markConnectionsLeaving } from "./mark-connections-leaving.js";
import { planRebalance } from "./plan-rebalance.js";

export interface RebalanceDeps {
  readonly loads: Pick<NodeLoads, "report" | "leave">;
  readonly nodeId: string;
  readonly scripts: ScriptRunner;
  readonly registry: Pick<ConnectionRegistry, "size" | "all">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The most clients per second that this node asks. */
  readonly perSecond: number;
  /** How long the set of nodes must have been stable. */
  readonly settleMs: number;
  /** This node accepts no clients, so the others do not count it. */
  readonly isDraining: () => boolean;
  /** Its clients move for another reason, or cannot be admitted elsewhere. */
  readonly isHeldUp: () => boolean;
  readonly onAsked: () => void;
  /** Uniform in [0, 1); tests pass their own. */
  readonly random?: () => number;
}

/** Also how often nodes hear of each other. */
export const ROUND_MS = 2_000;
/** How long the old socket stays open beside the new one. */
const OVERLAP_MS = 1_000;

export class Rebalance {
  readonly #deps: RebalanceDeps;
  /** Asked, and still here. */
  readonly #leaving = new Map<Connection, NodeJS.Timeout>();
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> | undefined;
  #nodes = "";
  #sameSinceMs = 0;
  #isAsking = false;
  #isStopped = false;

  constructor(deps: RebalanceDeps) {
    this.#deps = deps;
  }

  /** The node counts as joined from its first report on. */
  async start(): Promise<void> {
    await this.round();
    this.#later();
  }

  /** The drain takes over those that were asked. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    for (const timer of this.#leaving.values()) clearTimeout(timer);
    this.#leaving.clear();
    // Not awaited, because Redis may hang. If the call is lost, the report goes stale.
    this.#deps.loads.leave().catch(() => undefined);
  }

  /** Reports, and asks those whose turn it is. Never rejects. */
  round(): Promise<void> {
    this.#round ??= this.#exchange().finally(() => {
      this.#round = undefined;
    });
    return this.#round;
  }

  #later(): void {
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => void this.round().then(() => this.#later()), ROUND_MS);
  }

  async #exchange(): Promise<void> {
    const { loads, nodeId, registry, perSecond, logger, isDraining, isHeldUp } = this.#deps;
    for (const connection of this.#leaving.keys()) if (!connection.isOpen) this.#leaving.delete(connection);
    let all: NodeLoad[];
    try {
      if (isDraining()) {
        await loads.leave();
        this.#nodes = "";
        return;
      }
      all = await loads.report(registry.size - this.#leaving.size);
    } catch (error) {
      logger.warn({ reason: describeError(error) }, "rebalance: other nodes' loads not read");
      // Start observing the set of nodes anew.
      this.#nodes = "";
      return;
    }
    if (!this.#areTheSame(all) || this.#isStopped || isDraining() || isHeldUp()) return;
    const plan = planRebalance(all, nodeId);
    const most = Math.ceil((perSecond * ROUND_MS) / 1_000);
    const batch = plan === undefined ? [] : this.#choose(Math.min(plan.share, most), plan.olderThanMs);
    this.#tell(batch.length > 0, all);
    if (batch.length > 0) await this.#ask(batch);
  }

  /** Whether the set of nodes has been stable for long enough. */
  #areTheSame(all: readonly NodeLoad[]): boolean {
    const nowMs = this.#deps.clock.monotonicMs();
    const nodes = all
      .map(({ node }) => node)
      .sort((a, b) => (a < b ? -1 : 1))
      .join(" ");
    if (nodes !== this.#nodes) {
      this.#nodes = nodes;
      this.#sameSinceMs = nowMs;
    }
    return nowMs - this.#sameSinceMs >= this.#deps.settleMs;
  }

  #choose(count: number, olderThanMs: number): Connection[] {
    const chosen: Connection[] = [];
    for (const connection of this.#deps.registry.all()) {
      if (chosen.length >= count) break;
      const { isOpen, isMoving, phase, connectTimeMs } = connection;
      if (isOpen && !isMoving && phase !== "registering" && connectTimeMs < olderThanMs)
        chosen.push(connection);
    }
    return chosen;
  }

  async #ask(batch: readonly Connection[]): Promise<void> {
    const { scripts, logger, onAsked, random = Math.random } = this.#deps;
    for (const connection of batch) connection.isMoving = true;
    // Do this first: the new socket must take nobody's slot, least of all this connection's.
    await markConnectionsLeaving({ scripts, connections: batch, logger });
    if (this.#isStopped) return;
    for (const [i, connection] of batch.entries()) {
      if (!connection.isOpen) continue;
      // Spread over the round.
      const afterMs = Math.floor(((i + random()) / batch.length) * ROUND_MS);
      connection.send({ type: "reconnect", afterMs, reason: "PETREL_REBALANCING" });
      onAsked();
      const close = (): void => connection.close(closeCodes.serviceRestart, "PETREL_REBALANCING");
      this.#leaving.set(connection, setTimeout(close, afterMs + OVERLAP_MS));
    }
  }

  /** Logs one line when it begins and one when it is over. */
  #tell(isAsking: boolean, all: readonly NodeLoad[]): void {
    if (isAsking === this.#isAsking) return;
    this.#isAsking = isAsking;
    const connections = Object.fromEntries(all.map((load) => [load.node, load.connections]));
    this.#deps.logger.info(
      { connections },
      isAsking ? "rebalance: asking clients to move" : "rebalance: over",
    );
  }
}
