// push-node: the connections of this node, by user and by the beat of the shared timers.
// Guarantees: a connection is listed from before its route is written until after its socket is gone.
import type { Connection } from "./connection.js";

export class ConnectionRegistry {
  readonly slotCount: number;
  readonly #byUser = new Map<string, Set<Connection> | Connection>();
  readonly #slots: Set<Connection>[];
  #nextSlot = 0;
  #size = 0;

  constructor(slotCount: number) {
    this.slotCount = slotCount;
    this.#slots = Array.from({ length: slotCount }, () => new Set());
  }

  get size(): number {
    return this.#size;
  }

  get users(): number {
    return this.#byUser.size;
  }

  add(connection: Connection): void {
    connection.slot = this.#nextSlot;
    this.#nextSlot = (this.#nextSlot + 1) % this.slotCount;
    this.#slots[connection.slot]?.add(connection);
    this.#size++;
    const known = this.#byUser.get(connection.userId);
    // Most users have one connection: a set for each would cost more than everything else that is kept for it.
    if (known === undefined) this.#byUser.set(connection.userId, connection);
    else if (known instanceof Set) known.add(connection);
    else this.#byUser.set(connection.userId, new Set([known, connection]));
  }

  delete(connection: Connection): void {
    if (this.#slots[connection.slot]?.delete(connection) !== true) return;
    this.#size--;
    const known = this.#byUser.get(connection.userId);
    if (known === connection) this.#byUser.delete(connection.userId);
    else if (known instanceof Set) {
      known.delete(connection);
      if (known.size === 0) this.#byUser.delete(connection.userId);
    }
  }

  /** A user's connections on this node. */
  ofUser(userId: string): Iterable<Connection> {
    const known = this.#byUser.get(userId);
    if (known === undefined) return [];
    return known instanceof Set ? known : [known];
  }

  /** The connections of one beat. */
  inSlot(slot: number): Iterable<Connection> {
    return this.#slots[slot] ?? [];
  }

  *all(): Iterable<Connection> {
    for (const slot of this.#slots) yield* slot;
  }
}
