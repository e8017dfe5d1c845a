// push-node: a planned stop: every client is asked to move, spread over a window.
// Guarantees: messages flow while the window lasts. Each client gets `reconnect` at its own moment, and 1012 a second
// later, so one that moves in time is never without a socket. Clients that have left delay nothing. Acks that were
// received are written before the end.
import type { Clock } from "@petrel/shared/kernel/clock";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { pause } from "@petrel/shared/kernel/pause";
import type { CollectAcks } from "../frames/collect-acks.js";
import type { Connection } from "../connection/connection.js";
import type { ConnectionRegistry } from "../connection/connection-registry.js";

export interface DrainDeps {
  readonly registry: ConnectionRegistry;
  readonly acks: Pick<CollectAcks, "drained">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly windowMs: number;
  /** Called for each connection when its moment has come. */
  readonly onLeft: (outcome: LeaveOutcome) => void;
  /** Uniform in [0, 1); tests pass their own. */
  readonly random?: () => number;
}

/** `moved`: it had left by its moment · `closed`: it was closed with 1012 */
export type LeaveOutcome = "moved" | "closed";

interface Leaver {
  readonly connection: Connection;
  /** Its moment, from the beginning of the drain. */
  readonly atMs: number;
}

const TICK_MS = 25;
/** How long the old socket stays open beside the new one. */
const OVERLAP_MS = 1_000;
/** How long the last clients may take to answer the close. */
const CLOSE_GRACE_MS = 2_000;

export async function drainConnections(deps: DrainDeps): Promise<void> {
  const { registry, acks, clock, logger, windowMs, onLeft, random = Math.random } = deps;
  const startMs = clock.monotonicMs();
  const connections = [...registry.all()];
  // One in each equal part of the window: the other nodes get a steady stream, without random clusters.
  const leaving = connections.map((connection, i): Leaver => {
    const atMs = Math.floor(((i + random()) / connections.length) * windowMs);
    return { connection, atMs };
  });
  logger.info({ connections: leaving.length, windowMs }, "draining");
  let untold = askToMove(leaving, 0);

  let next = 0;
  let left = 0;
  while (next < leaving.length && registry.size > 0) {
    const elapsedMs = clock.monotonicMs() - startMs;
    untold = askToMove(untold, elapsedMs);
    for (
      let item = leaving[next];
      item !== undefined && item.atMs + OVERLAP_MS <= elapsedMs;
      item = leaving[next]
    ) {
      const { isOpen } = item.connection;
      if (!isOpen) left++;
      onLeft(isOpen ? "closed" : "moved");
      item.connection.close(closeCodes.serviceRestart, "PETREL_SHUTTING_DOWN");
      next++;
    }
    if (next < leaving.length) await pause(TICK_MS);
  }
  for (let i = next; i < leaving.length; i++) onLeft("moved");
  const graceEndMs = clock.monotonicMs() + CLOSE_GRACE_MS;
  while (registry.size > 0 && clock.monotonicMs() < graceEndMs) await pause(TICK_MS);
  for (const connection of registry.all()) connection.terminate();
  await Promise.race([acks.drained(), pause(CLOSE_GRACE_MS)]);
  logger.info({ left: left + leaving.length - next, closed: next - left }, "drained");
}

/** @returns those to ask later: before `welcome` a client ignores everything but errors */
function askToMove(leaving: readonly Leaver[], elapsedMs: number): readonly Leaver[] {
  for (const { connection, atMs } of leaving) {
    if (connection.phase === "registering" || !connection.isOpen) continue;
    const afterMs = Math.max(0, Math.floor(atMs - elapsedMs));
    connection.send({ type: "reconnect", afterMs, reason: "PETREL_SHUTTING_DOWN" });
  }
  return leaving.filter(({ connection }) => connection.phase === "registering");
}
