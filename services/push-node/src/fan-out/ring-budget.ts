// push-node/fan-out/node-topic -> here: the total bytes of the rings of all topics.
// Guarantees: the rings that have been quiet for longest make room; what a fan-out still needs is never dropped.

/** A ring that can be shrunk. */
export interface BudgetedRing {
  readonly ringBytes: number;
  /** Drops its oldest messages, as many as it can spare, until it holds at most this many bytes. */
  readonly shrinkTo: (bytes: number) => void;
}

export class RingBudget {
  readonly #maxBytes: number;
  /** Quietest first. */
  readonly #rings = new Map<BudgetedRing, number>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Call it when the ring has changed. */
  note(ring: BudgetedRing): void {
    this.#count(ring);
    if (this.#bytes <= this.#maxBytes) return;
    for (const other of this.#rings.keys()) {
      const over = this.#bytes - this.#maxBytes;
      if (over <= 0) return;
      other.shrinkTo(Math.max(0, other.ringBytes - over));
      this.#count(other, true);
    }
  }

  forget(ring: BudgetedRing): void {
    this.#bytes -= this.#rings.get(ring) ?? 0;
    this.#rings.delete(ring);
  }

  #count(ring: BudgetedRing, keepsPlace = false): void {
    const { ringBytes } = ring;
    this.#bytes += ringBytes - (this.#rings.get(ring) ?? 0);
    if (!keepsPlace) this.#rings.delete(ring);
    this.#rings.set(ring, ringBytes);
  }
}
