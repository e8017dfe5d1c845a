// push-node: keeps the leases of this node's connections, and notices if they were lost.
// Guarantees: every connection is renewed three times per lease, in batches spread over that time. A connection that is
// no longer registered is registered again with its original age, or closed; one whose token was revoked is closed.
// After the process was suspended for longer than half a lease, all register again.
import { backoffMs } from "@petrel/shared/kernel/backoff";
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import { groupBy } from "@petrel/shared/kernel/group-by";
import { inSlices } from "@petrel/shared/kernel/in-slices";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { pause } from "@petrel/shared/kernel/pause";
import type { Semaphore } from "@petrel/shared/kernel/semaphore";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { Connection } from "../connection/connection.js";
import type { ConnectionRegistry } from "../connection/connection-registry.js";
import type { NodeRoutes } from "./node-routes.js";
import type { RegisterConnections } from "./register-connection.js";

export interface RenewOptions {
  readonly registry: ConnectionRegistry;
  readonly routes: NodeRoutes;
  readonly registrations: RegisterConnections;
  readonly clock: Clock;
  /** Bounds how many connections register again at a time. */
  readonly semaphore: Semaphore;
  readonly logger: Logger;
}

export interface LeaseRenewal {
  readonly start: () => void;
  readonly stop: () => void;
  /** Registers a connection again and brings it up to date; retries until that works or it is closed. */
  readonly renew: (connection: Connection) => Promise<void>;
  /** The same for every connection, a bounded number at a time. */
  readonly renewAll: (why: string) => Promise<void>;
}

function isPresent<T>(value: T | undefined): value is T {
  return value !== undefined;
}

const RENEWALS_PER_LEASE = 3;
const MAX_PER_CALL = 200;

export function createLeaseRenewal(options: RenewOptions): LeaseRenewal {
  const { registry, routes, registrations, clock, logger, semaphore } = options;
  const { leaseMs } = routes.limits;
  const beatMs = leaseMs / RENEWALS_PER_LEASE / registry.slotCount;
  /** Connections that must register again and whose call has not begun. */
  const waiting = new Set<Connection>();
  let timer: NodeJS.Timeout | undefined;
  let slot = 0;
  let lastBeatMs = clock.monotonicMs();

  async function registerAgain(connection: Connection): Promise<void> {
    for (let failures = 0; connection.isOpen && !waiting.has(connection); failures++) {
      waiting.add(connection);
      if (failures > 0) {
        await pause(100 + backoffMs(failures, { baseMs: 100, capMs: 5_000 }));
      }
      try {
        await semaphore.run(() => {
          // From here on a new loss needs a new call.
          waiting.delete(connection);
          return registrations.registerAgain(connection);
        });
        return;
      } catch (error) {
        logger.warn(
          { connection: connection.id, reason: describeError(error) },
          "connections not registered again yet",
        );
      }
    }
  }

  async function renewAll(why: string): Promise<void> {
    const connections = [...registry.all()];
    logger.info({ why, connections: connections.length }, "registering all connections again");
    await Promise.all(connections.map(registerAgain));
  }

  async function renewSlot(connections: readonly Connection[]): Promise<void> {
    const registered = connections.filter(({ member, isOpen }) => member !== "" && isOpen);
    // Pipelined.
    const calls = [...groupBy(registered, ({ keys }) => keys)].flatMap(([keys, ofPartition]) =>
      inSlices(ofPartition, MAX_PER_CALL).map((batch) => renewBatch(keys, batch)),
    );
    await Promise.all(calls);
  }

  async function renewBatch(keys: PartitionKeys, batch: readonly Connection[]): Promise<void> {
    try {
      const missing = await routes.renew(keys, batch);
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
    if (pausedMs > leaseMs / 2) {
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
