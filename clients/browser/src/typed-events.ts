// Typed event listeners, without Node's EventEmitter or the DOM's EventTarget.
// Guarantees: a failing listener harms neither the others nor the caller, and its error is reported. All listeners
// hear events in the order they happened, even if one of them causes the next event.

export type Listener<Payload> = (payload: Payload) => unknown;

/** An event, and who listened when it happened. */
interface Told<Events extends object> {
  readonly event: keyof Events;
  readonly payload: Events[keyof Events];
  readonly listeners: readonly Listener<Events[keyof Events]>[];
}

export class TypedEvents<Events extends object> {
  readonly #listeners = new Map<keyof Events, Listener<never>[]>();
  /** For each addition: the function by which it can be removed. */
  readonly #names = new WeakMap<Listener<never>, unknown>();
  readonly #reportFailure: (error: unknown, event: keyof Events) => void;
  readonly #untold: Told<Events>[] = [];
  #isTelling = false;

  /** @param reportFailure gets what a listener threw, or what its promise rejected with */
  constructor(reportFailure: (error: unknown, event: keyof Events) => void) {
    this.#reportFailure = reportFailure;
  }

  /**
   * Adds a listener. A function added twice is called twice.
   * @param name the function by which `off` knows it
   * @returns a function that removes exactly this addition
   */
  on<Name extends keyof Events>(
    event: Name,
    listener: Listener<Events[Name]>,
    name: unknown = listener,
  ): () => void {
    // A new wrapper for each, so that removing one addition leaves the other.
    const added: Listener<Events[Name]> = (payload) => listener(payload);
    this.#names.set(added, name);
    this.#listeners.set(event, [...this.#of(event), added]);
    return () => {
      const rest = this.#of(event).filter((one) => one !== added);
      this.#listeners.set(event, rest);
    };
  }

  /** Removes the newest addition of this function. Does nothing if there is none. */
  off(event: keyof Events, name: unknown): void {
    const all = this.#of(event);
    const newest = all.findLastIndex((added) => this.#names.get(added) === name);
    if (newest !== -1) this.#listeners.set(event, all.toSpliced(newest, 1));
  }

  count(event: keyof Events): number {
    return this.#of(event).length;
  }

  /** Tells all listeners now, or as soon as they have heard the earlier events. Waits for no promise. */
  emit<Name extends keyof Events>(event: Name, payload: Events[Name]): void {
    const listeners = this.#of(event) as Listener<Events[keyof Events]>[];
    this.#untold.push({ event, payload, listeners });
    this.#tell();
  }

  /** Events emitted inside stay together: what a listener causes comes after all of them. */
  together(emits: () => void): void {
    const isOutermost = !this.#isTelling;
    this.#isTelling = true;
    emits();
    if (!isOutermost) return;
    this.#isTelling = false;
    this.#tell();
  }

  /**
   * Calls the listeners one after the other, each when the previous one has finished.
   * @returns the errors of those that failed
   */
  async emitInOrder<Name extends keyof Events>(event: Name, payload: Events[Name]): Promise<unknown[]> {
    const failures: unknown[] = [];
    for (const listener of this.#of(event)) {
      try {
        await listener(payload);
      } catch (error) {
        failures.push(error);
      }
    }
    return failures;
  }

  #tell(): void {
    if (this.#isTelling) return;
    this.#isTelling = true;
    for (let told = this.#untold.shift(); told !== undefined; told = this.#untold.shift()) {
      for (const listener of told.listeners) this.#call(told, listener);
    }
    this.#isTelling = false;
  }

  #call({ event, payload }: Told<Events>, listener: Listener<Events[keyof Events]>): void {
    // It was removed meanwhile.
    if (!this.#of(event).includes(listener)) return;
    try {
      const result = listener(payload);
      // Any thenable: an older library's promise, or one from another frame, can reject too.
      if (isPromise(result)) result.then(undefined, (error: unknown) => this.#reportFailure(error, event));
    } catch (error) {
      this.#reportFailure(error, event);
    }
  }

  #of<Name extends keyof Events>(event: Name): Listener<Events[Name]>[] {
    return (this.#listeners.get(event) ?? []) as Listener<Events[Name]>[];
  }
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { readonly then?: unknown } | null | undefined)?.then === "function";
}
