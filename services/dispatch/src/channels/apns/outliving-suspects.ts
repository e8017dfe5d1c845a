// device-breaker -> here: devices whose token Apple called bad before or during a pause.
// Guarantees: bounded; each is remembered for its time, and the oldest are dropped first if there are too many.

const MAX_DEVICES = 10_000;

export class OutlivingSuspects {
  readonly #forMs: number;
  /** Device -> the time until which it is remembered. Oldest first. */
  readonly #untilMs = new Map<string, number>();

  constructor(forMs: number) {
    this.#forMs = forMs;
  }

  get size(): number {
    return this.#untilMs.size;
  }

  has(deviceId: string, nowMs: number): boolean {
    return (this.#untilMs.get(deviceId) ?? 0) > nowMs;
  }

  add(deviceId: string, nowMs: number): void {
    // Delete it first, so that it becomes the youngest.
    this.#untilMs.delete(deviceId);
    this.#untilMs.set(deviceId, nowMs + this.#forMs);
    const [oldest] = this.#untilMs.keys();
    if (this.#untilMs.size > MAX_DEVICES && oldest !== undefined) this.#untilMs.delete(oldest);
  }

  delete(deviceId: string): void {
    this.#untilMs.delete(deviceId);
  }

  /** Forgets those whose time is over. */
  dropEnded(nowMs: number): void {
    for (const [deviceId, untilMs] of this.#untilMs) {
      if (untilMs > nowMs) return;
      this.#untilMs.delete(deviceId);
    }
  }
}
