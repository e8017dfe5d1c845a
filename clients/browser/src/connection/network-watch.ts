// Listens to the browser's network events.
// Guarantees: `stop` removes every listener; without such events the network counts as up.

/** Fires `online` and `offline`, as a browser's global object does. */
export interface NetworkEvents {
  addEventListener(type: "online" | "offline", listener: () => void): void;
  removeEventListener(type: "online" | "offline", listener: () => void): void;
}

export interface NetworkChanges {
  readonly onDown: () => void;
  readonly onUp: () => void;
}

export class NetworkWatch {
  readonly #source: NetworkEvents | undefined;
  readonly #down: () => void;
  readonly #up: () => void;
  #isDown = false;

  constructor(source: NetworkEvents | undefined, { onDown, onUp }: NetworkChanges) {
    this.#source = source;
    this.#down = () => {
      this.#isDown = true;
      onDown();
    };
    this.#up = () => {
      this.#isDown = false;
      onUp();
    };
  }

  /** What the last event said. `navigator.onLine` is not used: it is often wrong at the start. */
  get isDown(): boolean {
    return this.#isDown;
  }

  start(): void {
    this.#isDown = false;
    this.#source?.addEventListener("offline", this.#down);
    this.#source?.addEventListener("online", this.#up);
  }

  stop(): void {
    this.#source?.removeEventListener("offline", this.#down);
    this.#source?.removeEventListener("online", this.#up);
  }
}
