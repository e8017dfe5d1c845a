// Which message ids the application was already given: the part of exactly-once that outlives an epoch.
// Guarantees: remembers the newest `capacity` ids, and forgets the oldest first; memory is bounded.

export class DeliveredIds {
  readonly #capacity: number;
  // A Set iterates in the order of insertion, so its first value is the oldest.
  readonly #ids = new Set<string>();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }

  add(id: string): void {
    this.#ids.add(id);
    if (this.#ids.size <= this.#capacity) return;
    for (const oldest of this.#ids) {
      this.#ids.delete(oldest);
      return;
    }
  }

  delete(id: string): void {
    this.#ids.delete(id);
  }

  clear(): void {
    this.#ids.clear();
  }
}
