// tab-member -> here -> the browser: the lock of all tabs that share.
// Guarantees: one request at a time; results of an earlier one have no effect. A holder that loses it is told. A
// browser that refuses is not asked again at once.

/** The part of `navigator.locks` that is used. */
export interface Locks {
  request(
    name: string,
    options: { readonly steal: true } | { readonly signal: AbortSignal },
    callback: () => Promise<void> | undefined,
  ): Promise<unknown>;
  query(): Promise<unknown>;
}

export interface LockEvents {
  readonly onGranted: () => void;
  readonly onLost: () => void;
}

/** If asked again in the same turn, a browser that refuses would keep the page busy. */
const REFUSED_MS = 1_000;

interface Request {
  readonly abort: AbortController;
  release: (() => void) | undefined;
}

export class TabLock {
  readonly #locks: Locks;
  readonly #name: string;
  readonly #events: LockEvents;
  #request: Request | undefined;

  constructor(locks: Locks, name: string, events: LockEvents) {
    this.#locks = locks;
    this.#name = name;
    this.#events = events;
  }

  request(steal: boolean): void {
    const request: Request = { abort: new AbortController(), release: undefined };
    this.#request = request;
    const options = steal ? ({ steal: true } as const) : { signal: request.abort.signal };
    const hold = (): Promise<void> | undefined => {
      if (this.#request !== request) return undefined;
      const held = new Promise<void>((resolve) => (request.release = resolve));
      this.#events.onGranted();
      return held;
    };
    const ended = (): void => {
      if (this.#request !== request) return;
      this.#request = undefined;
      this.#events.onLost();
    };
    const failed = (error: unknown): void => {
      // Stolen, perhaps before this tab knew that it had it.
      if ((error as Error).name === "AbortError") ended();
      else setTimeout(ended, REFUSED_MS);
    };
    this.#locks.request(this.#name, options, hold).then(ended, failed);
  }

  drop(): void {
    const request = this.#request;
    this.#request = undefined;
    request?.abort.abort();
    request?.release?.();
  }

  /** Resolves when any loss that the browser knows of has been reported. */
  async settled(): Promise<void> {
    await this.#locks.query().catch(() => undefined);
  }
}
