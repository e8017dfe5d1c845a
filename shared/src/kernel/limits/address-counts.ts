// slots-by-address, handshake-admission -> here: counts per address, and the address with the most.
// Guarantees: every operation takes constant time, so that a flood from many addresses costs no more than one from one.

export class AddressCounts {
  readonly #counts = new Map<string, number>();
  /** At n: the addresses that have n, in the order in which they reached it. */
  readonly #levels: Set<string>[] = [];
  #most = 0;

  of(address: string): number {
    return this.#counts.get(address) ?? 0;
  }

  /** @returns how many the address has now */
  add(address: string): number {
    const count = this.of(address) + 1;
    this.#move(address, count - 1, count);
    if (count > this.#most) this.#most = count;
    return count;
  }

  /** One less; does nothing if it has none. */
  remove(address: string): void {
    const count = this.of(address);
    if (count === 0) return;
    this.#move(address, count, count - 1);
    if (count === this.#most && this.#levels[count]?.size === 0) this.#most = count - 1;
  }

  /** The address with the most; on a tie, the one that has had so many for longest. Undefined if there is none. */
  largest(): string | undefined {
    return this.#levels[this.#most]?.values().next().value;
  }

  #move(address: string, from: number, to: number): void {
    this.#levels[from]?.delete(address);
    if (to === 0) {
      this.#counts.delete(address);
      return;
    }
    this.#counts.set(address, to);
    (this.#levels[to] ??= new Set()).add(address);
  }
}
