// Listeners by event name, typed, without Node's EventEmitter or the DOM's EventTarget.
// Guarantees: a listener that fails harms neither the others nor the caller; its error is reported, not lost.

export type Listener<Payload> = (payload: Payload) => unknown;

export class TypedEvents<Events extends object> {
  readonly #listeners = new Map<keyof Events, Listener<never>[]>();
  readonly #reportFailure: (error: unknown, event: keyof Events) => void;

  /** @param reportFailure told what a listener threw, or what its promise was rejected with */
  constructor(reportFailure: (error: unknown, event: keyof Events) => void) {
    this.#reportFailure = reportFailure;
  }

  /**
   * Adds a listener; the same function added twice is called twice.
   * @returns removes exactly this addition
   */
  on<Name extends keyof Events>(event: Name, listener: Listener<Events[Name]>): () => void {
    // A wrapper of its own, so that removing one addition leaves the other.
    const added: Listener<Events[Name]> = (payload) => listener(payload);
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), added]);
    return () => {
      const rest = (this.#listeners.get(event) ?? []).filter((one) => one !== added);
      this.#listeners.set(event, rest);
    };
  }

  count(event: keyof Events): number {
    return this.#listeners.get(event)?.length ?? 0;
  }

  /** Calls all listeners at once; waits for none. */
  emit<Name extends keyof Events>(event: Name, payload: Events[Name]): void {
    for (const listener of this.#of(event)) {
      try {
        const result = listener(payload);
        if (result instanceof Promise) result.catch((error: unknown) => this.#reportFailure(error, event));
      } catch (error) {
        this.#reportFailure(error, event);
      }
    }
  }

  /**
   * Calls the listeners one after the other, each when the one before has finished.
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

  #of<Name extends keyof Events>(event: Name): Listener<Events[Name]>[] {
    return (this.#listeners.get(event) ?? []) as Listener<Events[Name]>[];
  }
}
