// push-node/frames/handle-frame -> here -> inbox/ack-users: batches acknowledgements, one script call per partition and
// turn.
// Guarantees: an ack is clamped to what its connection was sent. Of a user's acks the highest is written. A failed
// write is retried. A master that does not answer holds up only its own users.
import { backoffMs } from "@petrel/shared/kernel/backoff";
import { groupBy } from "@petrel/shared/kernel/group-by";
import { inSlices } from "@petrel/shared/kernel/in-slices";
import { pause } from "@petrel/shared/kernel/pause";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { ackUsers, type UserAck } from "@petrel/shared/redis/inbox/ack-users";
import type { InboxHistory } from "@petrel/shared/redis/inbox/hold-history";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { MasterBatchers } from "@petrel/shared/redis/connection/master-batchers";
import { isConnectionError } from "@petrel/shared/redis/connection/connect";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { Connection } from "../connection/connection.js";
import type { ConnectionRegistry } from "../connection/connection-registry.js";
import type { DeliveryAcks } from "../deliver/delivery-acks.js";
import type { DeliveryObserver } from "../deliver/delivery-observer.js";

export interface CollectAcksOptions {
  /** How long the first ack lingers for others to be written with it. */
  readonly lingerMs: number;
  readonly scripts: ScriptRunner;
  readonly registry: ConnectionRegistry;
  readonly logger: Logger;
  readonly history: InboxHistory;
  readonly observer: Pick<DeliveryObserver, "acked">;
  /** An ack was refused because its user has a newer epoch. */
  readonly onEpochOver: (connection: Connection) => void;
}

interface PendingAck extends UserAck {
  readonly keys: PartitionKeys;
}

/** An ack to write: whichever is the highest by then. */
interface AckToWrite {
  /** Its key in `#pending`. */
  readonly name: string;
  readonly keys: PartitionKeys;
}

const MAX_PER_CALL = 200;

export class CollectAcks implements DeliveryAcks {
  readonly #options: CollectAcksOptions;
  /** By user and epoch: connections of one user may still be in different epochs. */
  readonly #pending = new Map<string, PendingAck>();
  readonly #batchers: MasterBatchers<AckToWrite>;
  /** Failures in a row, by master. */
  readonly #failures = new Map<string, number>();

  constructor(options: CollectAcksOptions) {
    this.#options = options;
    this.#batchers = new MasterBatchers<AckToWrite>({
      redis: options.scripts.redis,
      partitionOf: ({ keys }) => keys,
      maxInFlight: 1,
      lingerMs: options.lingerMs,
      flush: (acks, master) => this.#writeAll(acks, master),
    });
  }

  /**
   * The client acknowledged up to and including `seq`.
   * @returns false if `seq` was never sent on this connection
   */
  add(connection: Connection, seq: number): boolean {
    if (seq > connection.lastSent) return false;
    connection.acked = Math.max(connection.acked, seq);
    this.#options.observer.acked(connection, seq);
    // Skipped messages may follow the last delivered one: they have ended, and nobody else will ack them.
    this.#put(connection, seq >= connection.lastDelivered ? connection.lastSent : seq);
    return true;
  }

  /** See DeliveryAcks. */
  ackSkipped(connection: Connection): void {
    if (connection.lastSent > connection.lastDelivered && connection.acked >= connection.lastDelivered) {
      this.#put(connection, connection.lastSent);
    }
  }

  /** See DeliveryAcks. */
  repeat(connection: Connection): void {
    this.add(connection, connection.acked);
  }

  /** See DeliveryAcks. */
  ackWhenTaken(connection: Connection): void {
    const { lastDelivered } = connection;
    connection.flush(() => void this.add(connection, lastDelivered));
  }

  /** A client has left: the node that it returns to should know what it acknowledged. */
  flush(): void {
    this.#batchers.flush();
  }

  /** Resolves when every ack has been written. */
  drained(): Promise<void> {
    return this.#batchers.drained();
  }

  #put(connection: Connection, seq: number): void {
    const { userId, epoch, keys } = connection;
    this.#keep({ userId, epoch, seq, keys });
  }

  #keep(ack: PendingAck): void {
    const name = `${ack.userId}\t${ack.epoch}`;
    const known = this.#pending.get(name);
    if (known === undefined) this.#batchers.add({ name, keys: ack.keys });
    if (known === undefined || ack.seq > known.seq) this.#pending.set(name, ack);
  }

  async #writeAll(acksToWrite: readonly AckToWrite[], master: string): Promise<void> {
    const acks: PendingAck[] = [];
    for (const { name } of acksToWrite) {
      const ack = this.#pending.get(name);
      if (ack === undefined) continue;
      this.#pending.delete(name);
      acks.push(ack);
    }
    const calls = this.#options.scripts.together(() =>
      [...groupBy(acks, ({ keys }) => keys)].flatMap(([keys, ofPartition]) =>
        inSlices(ofPartition, MAX_PER_CALL).map((slice) => this.#write(keys, slice)),
      ),
    );
    const written = await Promise.all(calls);
    if (written.every(Boolean)) {
      this.#failures.delete(master);
      return;
    }
    const failures = this.#failures.get(master) ?? 0;
    this.#failures.set(master, failures + 1);
    await pause(50 + backoffMs(failures, { baseMs: 100, capMs: 5_000 }));
  }

  /** @returns false if the acks were put back */
  async #write(keys: PartitionKeys, acks: readonly PendingAck[]): Promise<boolean> {
    const { scripts, registry, logger, history, onEpochOver } = this.#options;
    try {
      const results = await ackUsers(scripts, keys, acks, history.history, history.slowHistory);
      for (const [i, acked] of results.entries()) {
        const ack = acks[i];
        if (acked !== undefined || ack === undefined) continue;
        for (const connection of registry.ofUser(ack.userId)) {
          if (connection.epoch === ack.epoch) onEpochOver(connection);
        }
      }
      return true;
    } catch (error) {
      if (!isConnectionError(error)) return this.#writeAlone(keys, acks, error);
      logger.warn({ reason: describeError(error), acks: acks.length }, "acks not written: trying again");
      for (const ack of acks) this.#keep(ack);
      return false;
    }
  }

  /**
   * Redis refused the call itself: one user's broken data must not hold up the others' acks. Concurrently, because
   * later acks of this master wait for these.
   * @returns false if some were put back
   */
  async #writeAlone(keys: PartitionKeys, acks: readonly PendingAck[], error: unknown): Promise<boolean> {
    const [only] = acks;
    if (acks.length > 1) {
      const written = await Promise.all(acks.map((ack) => this.#write(keys, [ack])));
      return written.every(Boolean);
    }
    this.#options.logger.error({ user: only?.userId, reason: describeError(error) }, "ack refused: dropped");
    return true;
  }
}
