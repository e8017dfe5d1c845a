// client -> handle-frame -> here -> redis/ack-users: gathers acknowledgements, one script call a partition and turn.
// Guarantees: an ack is clamped to what its connection was sent; of a user's acks the highest goes on; one that could
// not be written is kept and tried again.
import { backoffMs } from "@petrel/shared/kernel/backoff";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging";
import { TurnBatcher } from "@petrel/shared/kernel/turn-batcher";
import { ackUsers, type UserAck } from "@petrel/shared/redis/ack-users";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/script-runner";
import type { Connection } from "./connection.js";
import type { ConnectionRegistry } from "./connection-registry.js";

export interface CollectAcksOptions {
  readonly scripts: ScriptRunner;
  readonly registry: ConnectionRegistry;
  readonly logger: Logger;
  /** Acked messages that stay readable for slower devices. */
  readonly history: number;
}

interface PendingAck extends UserAck {
  readonly keys: PartitionKeys;
}

const MAX_PER_CALL = 200;

export class CollectAcks {
  readonly #options: CollectAcksOptions;
  readonly #pending = new Map<string, PendingAck>();
  readonly #batcher: TurnBatcher<string>;
  #failures = 0;

  constructor(options: CollectAcksOptions) {
    this.#options = options;
    this.#batcher = new TurnBatcher<string>({ maxInFlight: 1, flush: (userIds) => this.#flush(userIds) });
  }

  /**
   * The client acknowledged up to and including `seq`.
   * @returns false where `seq` was never sent on this connection
   */
  add(connection: Connection, seq: number): boolean {
    if (seq > connection.lastSent) return false;
    connection.acked = Math.max(connection.acked, seq);
    // Behind the newest one shown there may be skipped ones: they have ended, nobody else will ack them.
    this.#put(connection, seq >= connection.lastShown ? connection.lastSent : seq);
    return true;
  }

  /** After messages were skipped: if the client has acked all it was shown, the skipped ones are done too. */
  ackSkipped(connection: Connection): void {
    if (connection.lastSent > connection.lastShown && connection.acked >= connection.lastShown) {
      this.#put(connection, connection.lastSent);
    }
  }

  /** Says once more what the client acknowledged: an earlier saying may have been lost. */
  repeat(connection: Connection): void {
    if (connection.acked > 0) this.add(connection, connection.acked);
  }

  /** For a client that waived acknowledging: flushes, and acks what the kernel took. */
  ackWhenTaken(connection: Connection): void {
    const { lastShown } = connection;
    connection.flush(() => void this.add(connection, lastShown));
  }

  /** Resolves when every ack has been written. */
  drained(): Promise<void> {
    return this.#batcher.drained();
  }

  #put(connection: Connection, seq: number): void {
    const { userId, epoch, keys } = connection;
    const known = this.#pending.get(userId);
    if (known === undefined) {
      this.#pending.set(userId, { userId, epoch, seq, keys });
      this.#batcher.add(userId);
    } else if (known.epoch !== epoch || seq > known.seq) {
      this.#pending.set(userId, { userId, epoch, seq, keys });
    }
  }

  async #flush(userIds: readonly string[]): Promise<void> {
    const byPartition = new Map<PartitionKeys, PendingAck[]>();
    for (const userId of userIds) {
      const ack = this.#pending.get(userId);
      if (ack === undefined) continue;
      this.#pending.delete(userId);
      const ofPartition = byPartition.get(ack.keys);
      if (ofPartition === undefined) byPartition.set(ack.keys, [ack]);
      else ofPartition.push(ack);
    }
    const calls: Promise<boolean>[] = [];
    for (const [keys, acks] of byPartition) {
      for (let start = 0; start < acks.length; start += MAX_PER_CALL) {
        calls.push(this.#write(keys, acks.slice(start, start + MAX_PER_CALL)));
      }
    }
    const written = await Promise.all(calls);
    if (written.every(Boolean)) {
      this.#failures = 0;
      return;
    }
    await new Promise((resolve) =>
      setTimeout(resolve, 50 + backoffMs(this.#failures++, { baseMs: 100, capMs: 5_000 })),
    );
  }

  /** @returns false where the acks were put back */
  async #write(keys: PartitionKeys, acks: readonly PendingAck[]): Promise<boolean> {
    const { scripts, registry, logger, history } = this.#options;
    try {
      const results = await ackUsers(scripts, keys, acks, history);
      for (const [i, acked] of results.entries()) {
        const ack = acks[i];
        if (acked !== undefined || ack === undefined) continue;
        for (const connection of registry.ofUser(ack.userId)) {
          if (connection.epoch === ack.epoch) connection.reconnect(0, "PETREL_EPOCH_CHANGED");
        }
      }
      return true;
    } catch (error) {
      logger.warn({ reason: describeError(error), acks: acks.length }, "acks: not written, trying again");
      for (const ack of acks) {
        const newer = this.#pending.get(ack.userId);
        if (newer === undefined) {
          this.#pending.set(ack.userId, ack);
          this.#batcher.add(ack.userId);
        } else if (newer.epoch === ack.epoch && newer.seq < ack.seq) {
          this.#pending.set(ack.userId, ack);
        }
      }
      return false;
    }
  }
}
