// Remembers which message ids the application already got, so that exactly-once survives a change of epoch.
// Guarantees: keeps the newest `capacity` ids and forgets the oldest first, so memory is bounded.

export class DeliveredIds {
  readonly #capacity: number;
  // A Set iterates in insertion order, so its first value is the oldest.
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
