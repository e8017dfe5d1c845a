// push-node: keeps the leases of this node's connections, and notices when they were lost.
// Guarantees: every connection is renewed three times a lease, in batches spread over that time; one that is not
// registered any more is registered again by its age, or closed; so is one whose token was revoked, closed; after a
// pause longer than half a lease, all are registered again.
import { backoffMs } from "@petrel/shared/kernel/backoff";
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { renewRoutes } from "@petrel/shared/redis/nodes/route-store";
import type { Connection } from "../connection/connection.js";
import type { ConnectionRegistry } from "../connection/connection-registry.js";
import type { Semaphore } from "@petrel/shared/kernel/semaphore";
import { reRegisterConnection, type RegisterDeps } from "./register-connection.js";

export interface RenewDeps extends RegisterDeps {
  readonly registry: ConnectionRegistry;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Bounds how many connections register again at a time. */
  readonly semaphore: Semaphore;
}

export interface LeaseRenewal {
  readonly start: () => void;
  readonly stop: () => void;
  /** Registers a connection again and brings it up to date, however often that has to be tried. */
  readonly renew: (connection: Connection) => Promise<void>;
  /** The same for every connection, a bounded number at a time. */
  readonly renewAll: (why: string) => Promise<void>;
}

function isPresent<T>(value: T | undefined): value is T {
  return value !== undefined;
}

const RENEWALS_PER_LEASE = 3;
const MAX_PER_CALL = 200;

export function createLeaseRenewal(deps: RenewDeps): LeaseRenewal {
  const { registry, limits, clock, logger, semaphore } = deps;
  const beatMs = limits.leaseMs / RENEWALS_PER_LEASE / registry.slotCount;
  /** Those that are to register again and whose call has not begun. */
  const waiting = new Set<Connection>();
  let timer: NodeJS.Timeout | undefined;
  let slot = 0;
  let lastBeatMs = clock.monotonicMs();

  async function registerAgain(connection: Connection): Promise<void> {
    for (let failures = 0; connection.isOpen && !waiting.has(connection); failures++) {
      waiting.add(connection);
      if (failures > 0) {
        const waitMs = 100 + backoffMs(failures, { baseMs: 100, capMs: 5_000 });
        await new Promise((resolve) => setTimeout(resolve, waitMs));
      }
      try {
        await semaphore.run(() => {
          // From here on a new loss asks for a new call.
          waiting.delete(connection);
          return reRegisterConnection(deps, connection);
        });
        return;
      } catch (error) {
        logger.warn({ connection: connection.id, reason: describeError(error) }, "not registered again yet");
      }
    }
  }

  async function renewAll(why: string): Promise<void> {
    const connections = [...registry.all()];
    logger.info({ why, connections: connections.length }, "registering all connections again");
    await Promise.all(connections.map(registerAgain));
  }

  async function renewSlot(connections: readonly Connection[]): Promise<void> {
    const byPartition = new Map<PartitionKeys, Connection[]>();
    for (const connection of connections) {
      if (connection.member === "" || !connection.isOpen) continue;
      const ofPartition = byPartition.get(connection.keys);
      if (ofPartition === undefined) byPartition.set(connection.keys, [connection]);
      else ofPartition.push(connection);
    }
    // Sent without waiting in between, as one pipeline.
    const calls: Promise<void>[] = [];
    for (const [keys, ofPartition] of byPartition) {
      for (let start = 0; start < ofPartition.length; start += MAX_PER_CALL) {
        calls.push(renewBatch(keys, ofPartition.slice(start, start + MAX_PER_CALL)));
      }
    }
    await Promise.all(calls);
  }

  async function renewBatch(keys: PartitionKeys, batch: readonly Connection[]): Promise<void> {
    try {
      const missing = await renewRoutes(deps.scripts, keys, batch, limits.leaseMs);
      await Promise.all(
        missing
          .map((index) => batch[index])
          .filter(isPresent)
          .map(registerAgain),
      );
    } catch (error) {
      // The lease outlasts two missed beats.
      logger.warn({ reason: describeError(error) }, "leases not renewed");
    }
  }

  function beat(): void {
    const now = clock.monotonicMs();
    const pausedMs = now - lastBeatMs;
    lastBeatMs = now;
    if (pausedMs > limits.leaseMs / 2) {
      void renewAll(`paused for ${Math.round(pausedMs)} ms`);
      return;
    }
    slot = (slot + 1) % registry.slotCount;
    void renewSlot([...registry.inSlot(slot)]);
  }

  return {
    start: () => {
      lastBeatMs = clock.monotonicMs();
      timer = setInterval(beat, beatMs);
    },
    stop: () => clearInterval(timer),
    renew: registerAgain,
    renewAll,
  };
}
