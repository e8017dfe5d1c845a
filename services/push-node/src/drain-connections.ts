// push-node: a planned stop: every client is asked to move, spread over a window.
// Guarantees: messages go on while the window lasts; each client hears `reconnect` with its own moment and is closed
// with 1012 when that has come; acks that were taken are written before the end.
import type { Clock } from "@petrel/shared/kernel/clock";
import { closeCodes } from "@petrel/shared/protocol/close-codes";
import type { Logger } from "@petrel/shared/kernel/logging";
import type { CollectAcks } from "./collect-acks.js";
import type { Connection } from "./connection.js";
import type { ConnectionRegistry } from "./connection-registry.js";

export interface DrainDeps {
  readonly registry: ConnectionRegistry;
  readonly acks: CollectAcks;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly windowMs: number;
  /** Uniform in [0, 1); given by tests. */
  readonly random?: () => number;
}

const TICK_MS = 25;
/** How long the last clients may take to answer the close. */
const CLOSE_GRACE_MS = 2_000;

export async function drainConnections(deps: DrainDeps): Promise<void> {
  const { registry, acks, clock, logger, windowMs, random = Math.random } = deps;
  const startMs = clock.monotonicMs();
  const leaving: { readonly connection: Connection; readonly afterMs: number }[] = [];
  for (const connection of registry.all()) {
    const afterMs = Math.floor(random() * windowMs);
    if (connection.isOpen) connection.send({ type: "reconnect", afterMs, reason: "PETREL_SHUTTING_DOWN" });
    leaving.push({ connection, afterMs });
  }
  leaving.sort((a, b) => a.afterMs - b.afterMs);
  logger.info({ connections: leaving.length, windowMs }, "draining");

  let next = 0;
  while (next < leaving.length) {
    const elapsedMs = clock.monotonicMs() - startMs;
    for (let item = leaving[next]; item !== undefined && item.afterMs <= elapsedMs; item = leaving[next]) {
      item.connection.close(closeCodes.serviceRestart, "PETREL_SHUTTING_DOWN");
      next++;
    }
    if (next < leaving.length) await pause(TICK_MS);
  }
  const graceEndMs = clock.monotonicMs() + CLOSE_GRACE_MS;
  while (registry.size > 0 && clock.monotonicMs() < graceEndMs) await pause(TICK_MS);
  for (const connection of registry.all()) connection.terminate();
  await Promise.race([acks.drained(), pause(CLOSE_GRACE_MS)]);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
