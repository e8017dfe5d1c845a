// push-node/connect/register-connection, push-node/frames/collect-acks -> here: users have a new epoch; their clients
// are asked to move.
// Guarantees: never a crowd: users with open messages go first, at half the rate that a node admits; the others over
// the window of a drain, or longer if they are many. Until its turn a connection stays as it is, including its route;
// then it has a second to open its new socket beside the old one. A message of the new epoch moves its user at once,
// through deliver or catch-up. While clients move, and while a node makes them wait, nobody counts as offline.
import type { Clock } from "@petrel/shared/kernel/clock";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { Connection } from "../connection/connection.js";
import type { ConnectionRegistry } from "../connection/connection-registry.js";
import { HoldAbsence } from "./hold-absence.js";
import { markConnectionsLeaving } from "./mark-connections-leaving.js";

export interface MoveDeps {
  readonly scripts: ScriptRunner;
  readonly registry: Pick<ConnectionRegistry, "size">;
  /** Whether handshakes wait here, or were refused and told to return. */
  readonly isCrowded: () => boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The time over which all of a node's clients are asked, if the nodes can admit that many. */
  readonly windowMs: number;
  /** Handshakes per second that a node admits. */
  readonly connectsPerSecond: number;
  /** Uniform in [0, 1); tests pass their own. */
  readonly random?: () => number;
}

const TICK_MS = 25;
/** How long the old socket stays open beside the new one. */
const OVERLAP_MS = 1_000;
/** A few clients need no window. */
const MAX_INTERVAL_MS = 100;

interface Lane {
  readonly waiting: Set<Connection>;
  /** When the next one is asked. */
  nextMs: number;
}

export class MoveConnections {
  readonly #deps: MoveDeps;
  readonly #hold: HoldAbsence;
  readonly #urgent: Lane = { waiting: new Set(), nextMs: 0 };
  readonly #others: Lane = { waiting: new Set(), nextMs: 0 };
  #asked: { readonly connection: Connection; readonly closeAtMs: number }[] = [];
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(deps: MoveDeps) {
    this.#deps = deps;
    const { scripts, clock, logger, isCrowded } = deps;
    const isNeeded = (): boolean => this.isBusy || isCrowded();
    this.#hold = new HoldAbsence({ scripts, clock, logger, isNeeded });
  }

  get isBusy(): boolean {
    return this.#urgent.waiting.size + this.#others.waiting.size + this.#asked.length > 0;
  }

  /**
   * The user's epoch is no longer this connection's.
   * @param isUrgent there may be open messages that only an acknowledgement under the new epoch can end
   */
  move(connection: Connection, isUrgent: boolean): void {
    if (this.#isStopped || !connection.isOpen || connection.isMoving) return;
    this.#hold.hold(connection.keys);
    if (isUrgent) {
      this.#others.waiting.delete(connection);
      this.#urgent.waiting.add(connection);
    } else if (!this.#urgent.waiting.has(connection)) {
      this.#others.waiting.add(connection);
    }
    this.#tickLater();
  }

  /** The drain takes over those that wait. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#hold.stop();
  }

  #tickLater(): void {
    if (this.#isStopped) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#tick();
      if (this.isBusy) this.#tickLater();
    }, TICK_MS);
  }

  #tick(): void {
    const { clock, registry, windowMs, connectsPerSecond } = this.#deps;
    const nowMs = clock.monotonicMs();
    // Each lane leaves half of the admission rate to the other.
    const shortestMs = 2_000 / connectsPerSecond;
    const evenMs = Math.min(windowMs / Math.max(1, registry.size), MAX_INTERVAL_MS);
    const batch = [
      ...this.#take(this.#urgent, nowMs, shortestMs),
      ...this.#take(this.#others, nowMs, Math.max(shortestMs, evenMs)),
    ];
    if (batch.length > 0) {
      for (const connection of batch) this.#asked.push({ connection, closeAtMs: nowMs + OVERLAP_MS });
      void this.#ask(batch);
    }
    const due = this.#asked.findIndex(({ closeAtMs }) => closeAtMs > nowMs);
    for (const { connection } of this.#asked.splice(0, due === -1 ? this.#asked.length : due)) {
      connection.close(closeCodes.serviceRestart, "PETREL_EPOCH_CHANGED");
    }
  }

  /** Those whose turn has come. */
  #take(lane: Lane, nowMs: number, intervalMs: number): Connection[] {
    const taken: Connection[] = [];
    // Turns that passed while nobody waited, or the process was suspended, are lost.
    lane.nextMs = Math.max(lane.nextMs, nowMs - TICK_MS);
    for (const connection of lane.waiting) {
      // A client that has left takes nobody's turn.
      if (connection.isOpen) {
        if (lane.nextMs > nowMs) break;
        const { random = Math.random } = this.#deps;
        lane.nextMs += intervalMs * (0.5 + random());
        taken.push(connection);
      }
      lane.waiting.delete(connection);
    }
    return taken;
  }

  async #ask(connections: readonly Connection[]): Promise<void> {
    const { scripts, logger } = this.#deps;
    for (const connection of connections) connection.isMoving = true;
    // Do this first: the new socket must take nobody's slot, least of all this connection's.
    await markConnectionsLeaving({ scripts, connections, logger });
    for (const connection of connections) {
      if (!connection.isOpen) continue;
      connection.send({ type: "reconnect", afterMs: 0, reason: "PETREL_EPOCH_CHANGED" });
    }
  }
}
