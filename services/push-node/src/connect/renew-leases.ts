// push-node: keeps the leases of this node's connections, and notices if they were lost.
// Guarantees: every connection is renewed twice per lease, in batches spread over that time; a renewal that failed is
// tried again with the next batch. So a lease outlasts two fifths of itself without Redis. A connection that is no
// longer registered is registered again with its original age, or closed; one whose token was revoked is closed. After
// the process was suspended for longer than half a lease, all register again.
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

const RENEWALS_PER_LEASE = 2;
const MAX_PER_CALL = 200;
/**
 * A call costs as much as some renewals, so a few connections wait for more: until there are so many, or for so many
 * batches, a tenth of a lease.
 */
const ENOUGH = 400;
const MAX_WAITING_SLOTS = 4;

export function createLeaseRenewal(options: RenewOptions): LeaseRenewal {
  const { registry, routes, registrations, clock, logger, semaphore } = options;
  const { leaseMs } = routes.limits;
  const beatMs = leaseMs / RENEWALS_PER_LEASE / registry.slotCount;
  /** Connections that must register again and whose call has not begun. */
  const waiting = new Set<Connection>();
  /** Connections whose renewal has failed. */
  const overdue = new Set<Connection>();
  let timer: NodeJS.Timeout | undefined;
  let slot = 0;
  /** Slots whose turn has come and that wait for more connections. */
  let ready: number[] = [];
  /** A lease takes two rounds over all slots: in one of them the renewals keep the routes, too. */
  let keepsRoutes = false;
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

  /** In batches, pipelined. */
  async function renew(connections: Iterable<Connection>, keeps: boolean): Promise<void> {
    const registered = [...connections].filter(({ member, isOpen }) => member !== "" && isOpen);
    const calls = [...groupBy(registered, ({ keys }) => keys)].flatMap(([keys, ofPartition]) =>
      inSlices(ofPartition, MAX_PER_CALL).map((batch) => renewBatch(keys, batch, keeps)),
    );
    const failures = (await Promise.all(calls)).filter(isPresent);
    // One line, however many calls failed: in an outage all of them do, batch after batch.
    const [first] = failures;
    if (first === undefined) return;
    logger.warn({ reason: first, calls: failures.length }, "leases not renewed yet");
  }

  /** @returns why it failed */
  async function renewBatch(
    keys: PartitionKeys,
    batch: readonly Connection[],
    keeps: boolean,
  ): Promise<string | undefined> {
    try {
      const missing = await routes.renew(keys, batch, keeps);
      await Promise.all(
        missing
          .map((index) => batch[index])
          .filter(isPresent)
          .map(registerAgain),
      );
      return undefined;
    } catch (error) {
      for (const connection of batch) overdue.add(connection);
      return describeError(error);
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
    ready.push(slot);
    renewReady();
    renewOverdue();
  }

  function renewReady(): void {
    const connections = ready.flatMap((one) => [...registry.inSlot(one)]);
    const isLastOfRound = slot === registry.slotCount - 1;
    if (connections.length < ENOUGH && ready.length <= MAX_WAITING_SLOTS && !isLastOfRound) return;
    ready = [];
    void renew(connections, keepsRoutes);
    if (isLastOfRound) keepsRoutes = !keepsRoutes;
  }

  function renewOverdue(): void {
    if (overdue.size === 0) return;
    const late = [...overdue];
    overdue.clear();
    void renew(late, true);
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
