// client -> handle-frame -> here -> redis/ack-users: gathers acknowledgements, one script call a partition and turn.
// Guarantees: an ack is clamped to what its connection was sent; of a user's acks the highest goes on; one that could
// not be written is kept and tried again; a master that does not answer holds up its own users' only.
import { backoffMs } from "@petrel/shared/kernel/backoff";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { ackUsers, type UserAck } from "@petrel/shared/redis/inbox/ack-users";
import { isConnectionError } from "@petrel/shared/redis/connection/connect";
import type { InboxHistory } from "@petrel/shared/redis/inbox/hold-history";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { MasterBatchers } from "@petrel/shared/redis/connection/master-batchers";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { Connection } from "../connection/connection.js";
import type { ConnectionRegistry } from "../connection/connection-registry.js";
import type { MeasureLatency } from "../deliver/measure-latency.js";
import type { MoveConnections } from "../leave/move-connections.js";

export interface CollectAcksOptions {
  readonly scripts: ScriptRunner;
  readonly moves: Pick<MoveConnections, "move">;
  readonly registry: ConnectionRegistry;
  readonly logger: Logger;
  readonly history: InboxHistory;
  readonly latency: Pick<MeasureLatency, "acked">;
}

interface PendingAck extends UserAck {
  readonly keys: PartitionKeys;
}

/** That there is one to be written, whichever it will be then. */
interface AckToWrite {
  /** In the list of those that are pending. */
  readonly name: string;
  readonly keys: PartitionKeys;
}

const MAX_PER_CALL = 200;
/** Nobody waits for an ack to be written, and a call costs as much as many acks in it. */
const ACK_COMPANY_MS = 10;

export class CollectAcks {
  readonly #options: CollectAcksOptions;
  /** By user and epoch: connections of one user may still be in different ones. */
  readonly #pending = new Map<string, PendingAck>();
  readonly #batchers: MasterBatchers<AckToWrite>;
  /** In a row, by master. */
  readonly #failures = new Map<string, number>();

  constructor(options: CollectAcksOptions) {
    this.#options = options;
    this.#batchers = new MasterBatchers<AckToWrite>({
      redis: options.scripts.redis,
      partitionOf: ({ keys }) => keys,
      maxInFlight: 1,
      companyMs: ACK_COMPANY_MS,
      flush: (acks, master) => this.#flush(acks, master),
    });
  }

  /**
   * The client acknowledged up to and including `seq`.
   * @returns false where `seq` was never sent on this connection
   */
  add(connection: Connection, seq: number): boolean {
    if (seq > connection.lastSent) return false;
    connection.acked = Math.max(connection.acked, seq);
    this.#options.latency.acked(connection, seq);
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

  /**
   * Says once more what the client acknowledged: an earlier saying may have been lost. Where it has acknowledged
   * nothing this still asks whether the connection's epoch is the user's.
   */
  repeat(connection: Connection): void {
    this.add(connection, connection.acked);
  }

  /** For a client that waived acknowledging: flushes, and acks what the kernel took. */
  ackWhenTaken(connection: Connection): void {
    const { lastShown } = connection;
    connection.flush(() => void this.add(connection, lastShown));
  }

  /** A client has left: where it comes back to should know what it acknowledged. */
  hurry(): void {
    this.#batchers.hurry();
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

  async #flush(acksToWrite: readonly AckToWrite[], master: string): Promise<void> {
    const byPartition = new Map<PartitionKeys, PendingAck[]>();
    for (const { name } of acksToWrite) {
      const ack = this.#pending.get(name);
      if (ack === undefined) continue;
      this.#pending.delete(name);
      const ofPartition = byPartition.get(ack.keys);
      if (ofPartition === undefined) byPartition.set(ack.keys, [ack]);
      else ofPartition.push(ack);
    }
    const calls = this.#options.scripts.together(() => {
      const under: Promise<boolean>[] = [];
      for (const [keys, acks] of byPartition) {
        for (let start = 0; start < acks.length; start += MAX_PER_CALL) {
          under.push(this.#write(keys, acks.slice(start, start + MAX_PER_CALL)));
        }
      }
      return under;
    });
    const written = await Promise.all(calls);
    if (written.every(Boolean)) {
      this.#failures.delete(master);
      return;
    }
    const failures = this.#failures.get(master) ?? 0;
    this.#failures.set(master, failures + 1);
    await new Promise((resolve) =>
      setTimeout(resolve, 50 + backoffMs(failures, { baseMs: 100, capMs: 5_000 })),
    );
  }

  /**
   * Redis refused the call itself: one user's broken data must not hold up the others'.
   * @returns false where some were put back
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

  /** @returns false where the acks were put back */
  async #write(keys: PartitionKeys, acks: readonly PendingAck[]): Promise<boolean> {
    const { scripts, registry, moves, logger, history } = this.#options;
    try {
      const results = await ackUsers(scripts, keys, acks, history.history, history.slowHistory);
      for (const [i, acked] of results.entries()) {
        const ack = acks[i];
        if (acked !== undefined || ack === undefined) continue;
        for (const connection of registry.ofUser(ack.userId)) {
          if (connection.epoch === ack.epoch) moves.move(connection, true);
        }
      }
      return true;
    } catch (error) {
      if (!isConnectionError(error)) return this.#writeAlone(keys, acks, error);
      logger.warn({ reason: describeError(error), acks: acks.length }, "acks: not written, trying again");
      for (const ack of acks) this.#keep(ack);
      return false;
    }
  }
}
