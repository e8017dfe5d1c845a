// push-node/{register-connection, collect-acks} -> here: users have a new epoch; their clients are asked to move.
// Guarantees: never a crowd: those who have something open go first, at half the rate that a node lets in; the others
// over the window of a drain, or longer where they are many. Until its moment a connection stays as it is, route and
// all; then it has a second to open its new socket beside the old one. Who gets a message under the new epoch goes at
// once, by deliver or catch-up. While they move, and while a node holds them out, nobody counts as offline.
import type { Clock } from "@petrel/shared/kernel/clock";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { Connection } from "../connection/connection.js";
import type { ConnectionRegistry } from "../connection/connection-registry.js";
import type { HandshakeAdmission } from "../connect/handshake-admission.js";
import { HoldAbsence } from "./hold-absence.js";
import { markConnectionsLeaving } from "./mark-connections-leaving.js";

export interface MoveDeps {
  readonly scripts: ScriptRunner;
  readonly registry: Pick<ConnectionRegistry, "size">;
  readonly admission: Pick<HandshakeAdmission, "isCrowded">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Over how long all of a node's clients are asked, where its nodes let so many in. */
  readonly windowMs: number;
  /** Handshakes that a node lets in. */
  readonly connectsPerSecond: number;
  /** Uniform in [0, 1); given by tests. */
  readonly random?: () => number;
}

const TICK_MS = 25;
/** How long the old socket stays open beside the new one. */
const OVERLAP_MS = 1_000;
/** A few clients need no window. */
const MAX_INTERVAL_MS = 100;

interface Lane {
  readonly waiting: Set<Connection>;
  /** The next one's moment. */
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
    const { scripts, clock, logger, admission } = deps;
    const isNeeded = (): boolean => this.isBusy || admission.isCrowded;
    this.#hold = new HoldAbsence({ scripts, clock, logger, isNeeded });
  }

  get isBusy(): boolean {
    return this.#urgent.waiting.size + this.#others.waiting.size + this.#asked.length > 0;
  }

  /**
   * The user's epoch is not this connection's any more.
   * @param isUrgent it may have something that only an acknowledgement under the new epoch can end
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

  /** Whoever waits is left to the drain. */
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
    // Each lane leaves half of what is let in to the other.
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

  /** Those whose moment has come. */
  #take(lane: Lane, nowMs: number, intervalMs: number): Connection[] {
    const taken: Connection[] = [];
    // What was not used while nobody waited, or this process did not run, is not made up for.
    lane.nextMs = Math.max(lane.nextMs, nowMs - TICK_MS);
    for (const connection of lane.waiting) {
      // Who has left takes nobody's moment.
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
    // First: the new socket must take nobody's place, this one's least of all.
    await markConnectionsLeaving({ scripts, connections, logger });
    for (const connection of connections) {
      if (!connection.isOpen) continue;
      connection.send({ type: "reconnect", afterMs: 0, reason: "PETREL_EPOCH_CHANGED" });
    }
  }
}
