// node/report-node -> here -> leave/mark-connections-leaving: an operator asked this node to drain: no new connections,
// and its clients are asked to move, spread over the window of a planned stop.
// Guarantees: a client that was asked has a second to open its new socket beside the old one. One that was not asked
// yet stays if the drain is withdrawn. A planned stop in between takes over those that wait.
import type { Clock } from "@petrel/shared/kernel/clock";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { Connection } from "../connection/connection.js";
import type { ConnectionRegistry } from "../connection/connection-registry.js";
import type { LeaveOutcome } from "./drain-connections.js";
import { markConnectionsLeaving, notYetMoving } from "./mark-connections-leaving.js";

export interface DrainOnDemandDeps {
  readonly scripts: ScriptRunner;
  readonly registry: ConnectionRegistry;
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly logger: Logger;
  readonly windowMs: number;
  /** Called for each connection when its moment has come. */
  readonly onLeft: (outcome: LeaveOutcome) => void;
}

const TICK_MS = 25;
/** How long the old socket stays open beside the new one. */
const OVERLAP_MS = 1_000;
/** After all have been asked: handshakes in progress may still end. */
const LATE_MS = 1_000;

export class DrainOnDemand {
  readonly #deps: DrainOnDemandDeps;
  #isOn = false;
  #waiting: Connection[] = [];
  #intervalMs = 0;
  #nextMs = 0;
  #asked: { readonly connection: Connection; readonly closeAtMs: number }[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: DrainOnDemandDeps) {
    this.#deps = deps;
  }

  get isOn(): boolean {
    return this.#isOn;
  }

  set(isOn: boolean): void {
    if (isOn === this.#isOn) return;
    this.#isOn = isOn;
    const { registry, logger, windowMs } = this.#deps;
    const connections = registry.size;
    logger.info({ connections, windowMs }, isOn ? "draining, as asked" : "no longer draining, as asked");
    this.#waiting = [];
    if (isOn) this.#gather();
    this.#tickIn(0);
  }

  /** A planned stop takes over. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isOn = false;
    this.#waiting = [];
  }

  #gather(): void {
    const { registry, clock, windowMs } = this.#deps;
    this.#waiting = notYetMoving(registry);
    this.#intervalMs = windowMs / Math.max(1, this.#waiting.length);
    this.#nextMs = Math.max(this.#nextMs, clock.monotonicMs());
  }

  #tickIn(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#tick(), ms);
  }

  #tick(): void {
    this.#timer = undefined;
    const nowMs = this.#deps.clock.monotonicMs();
    if (this.#isOn && this.#waiting.length === 0) this.#gather();
    // Turns that passed while the process was suspended are lost.
    this.#nextMs = Math.max(this.#nextMs, nowMs - TICK_MS);
    const batch: Connection[] = [];
    const later: Connection[] = [];
    while (this.#nextMs <= nowMs) {
      const connection = this.#waiting.shift();
      if (connection === undefined) break;
      // Before its welcome a client ignores everything but errors.
      if (connection.phase === "registering") later.push(connection);
      else if (connection.isOpen && !connection.isMoving) batch.push(connection);
      else continue;
      this.#nextMs += this.#intervalMs;
    }
    this.#waiting.push(...later);
    if (batch.length > 0) void this.#ask(batch, nowMs);
    this.#closeThose(nowMs);
    if (this.#waiting.length > 0 || this.#asked.length > 0) this.#tickIn(TICK_MS);
    else if (this.#isOn) this.#tickIn(LATE_MS);
  }

  async #ask(connections: readonly Connection[], nowMs: number): Promise<void> {
    const { scripts, logger } = this.#deps;
    for (const connection of connections) {
      connection.isMoving = true;
      this.#asked.push({ connection, closeAtMs: nowMs + OVERLAP_MS });
    }
    // Do this first: the new socket must take nobody's slot, least of all this connection's.
    await markConnectionsLeaving({ scripts, connections, logger });
    for (const connection of connections) {
      if (!connection.isOpen) continue;
      connection.send({ type: "reconnect", afterMs: 0, reason: "PETREL_SHUTTING_DOWN" });
    }
  }

  #closeThose(nowMs: number): void {
    const due = this.#asked.findIndex(({ closeAtMs }) => closeAtMs > nowMs);
    for (const { connection } of this.#asked.splice(0, due === -1 ? this.#asked.length : due)) {
      this.#deps.onLeft(connection.isOpen ? "closed" : "moved");
      connection.close(closeCodes.serviceRestart, "PETREL_SHUTTING_DOWN");
    }
  }
}
