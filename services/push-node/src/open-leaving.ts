// start-push-node -> here -> leave, node: how this node gives its connections away, wired.
// Guarantees: connections move when it stops, when an operator asks it to drain, and when it has more than its share.
import type { Service } from "@petrel/shared/service/open-service";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { PushNodeConfig } from "./config.js";
import type { HandshakeAdmission } from "./connect/handshake-admission.js";
import type { ConnectionRegistry } from "./connection/connection-registry.js";
import type { CollectAcks } from "./frames/collect-acks.js";
import { DrainOnDemand } from "./leave/drain-on-demand.js";
import { createDrainMetrics } from "./leave/drain-metrics.js";
import { leaveNode } from "./leave/leave-node.js";
import { MoveConnections } from "./leave/move-connections.js";
import { openRebalance } from "./leave/open-rebalance.js";
import { NodeReporter } from "./node/report-node.js";

export interface LeavingDeps {
  readonly scripts: ScriptRunner;
  readonly registry: ConnectionRegistry;
  readonly admission: HandshakeAdmission;
  /** For tests; by default while it stops, or was asked to drain. */
  readonly isDraining?: () => boolean;
}

export interface Leaving {
  readonly moves: MoveConnections;
  readonly isDraining: () => boolean;
  /** Tells the cluster about this node, and hears whether it shall drain. */
  readonly report: () => void;
  /**
   * From now on a stop drains.
   * @returns asks every client to move, and waits until they have. @param random as in drain-connections
   */
  readonly drainAtStop: (acks: CollectAcks) => (random?: () => number) => Promise<void>;
  /** Once clients can connect: gives away what is more than its share. */
  readonly rebalance: () => void;
}

export function openLeaving(
  config: PushNodeConfig,
  service: Service,
  { scripts, registry, admission, ...overrides }: LeavingDeps,
): Leaving {
  const { instance: nodeId, logger, lifecycle, metrics, clock } = service;
  const isDraining = overrides.isDraining ?? (() => lifecycle.stopping.aborted || onDemand.isOn);
  const moves = new MoveConnections({
    scripts,
    registry,
    isCrowded: () => admission.isCrowded,
    clock,
    logger,
    windowMs: config.drainWindowMs,
    connectsPerSecond: config.connectsPerSecond,
  });
  const onLeft = createDrainMetrics(metrics, isDraining);
  const onDemand = new DrainOnDemand({
    scripts,
    registry,
    clock,
    logger,
    windowMs: config.drainWindowMs,
    onLeft,
  });
  const reporter = new NodeReporter({
    scripts,
    nodeId,
    ttlMs: config.nodeTtlMs,
    describe: () => ({ version: service.version, connections: registry.size, draining: isDraining() }),
    onAsked: (isOn) => {
      if (!lifecycle.stopping.aborted) onDemand.set(isOn);
    },
    logger,
  });
  lifecycle.onStop("node report", () => reporter.stop());
  return {
    moves,
    isDraining,
    report: () => reporter.beat(),
    drainAtStop: (acks) => {
      const leave = (random?: () => number): Promise<void> =>
        leaveNode({
          scripts,
          moves,
          registry,
          acks,
          clock,
          logger,
          windowMs: config.drainWindowMs,
          onLeft,
          ...(random === undefined ? {} : { random }),
        });
      lifecycle.onStop("connections", () => {
        onDemand.stop();
        return leave();
      });
      return leave;
    },
    rebalance: () => {
      const isHeldUp = (): boolean => moves.isBusy || admission.isCrowded;
      openRebalance(config, service, { scripts, registry, isDraining, isHeldUp });
    },
  };
}
