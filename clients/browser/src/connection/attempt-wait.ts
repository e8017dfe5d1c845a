// connection-keeper -> here: the wait before the next attempt.
// Guarantees: one wait at a time; a new one takes the place of the last.

/** The longest delay a timer accepts. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export class AttemptWait {
  readonly #onOver: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #mayHurry = false;

  constructor(onOver: () => void) {
    this.#onOver = onOver;
  }

  get isOn(): boolean {
    return this.#timer !== undefined;
  }

  /** Whether it may be cut short: it is the client's own, not the server's to spread a crowd. */
  get mayHurry(): boolean {
    return this.#mayHurry;
  }

  begin(delayMs: number, mayHurry: boolean): void {
    clearTimeout(this.#timer);
    this.#mayHurry = mayHurry;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#onOver();
      },
      Math.min(delayMs, MAX_TIMER_MS),
    );
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
