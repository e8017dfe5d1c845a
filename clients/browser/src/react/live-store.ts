// message-store, topic-store -> here: a value that components share, for `useSyncExternalStore`.
// Guarantees: starts with the first subscriber and stops after the last. A subscriber that leaves and returns in the
// same turn, as StrictMode makes all of them do, stops nothing. The value is the same object until it changes.

/** After the turn, because React remounts within it. */
export function afterThisTurn(run: () => void): () => void {
  const timer = setTimeout(run, 0);
  return () => clearTimeout(timer);
}

export class LiveStore<Value> {
  readonly #start: (set: (change: (value: Value) => Value) => void) => () => void;
  readonly #onIdle: () => void;
  readonly #listeners = new Set<() => void>();
  #value: Value;
  #stop: (() => void) | undefined;
  #cancelStop: (() => void) | undefined;

  /**
   * @param start begins to change the value; returns a function that ends that
   * @param onIdle called after the end
   */
  constructor(
    initial: Value,
    start: (set: (change: (value: Value) => Value) => void) => () => void,
    onIdle: () => void = () => undefined,
  ) {
    this.#value = initial;
    this.#start = start;
    this.#onIdle = onIdle;
  }

  readonly get = (): Value => this.#value;

  readonly subscribe = (listener: () => void): (() => void) => {
    // A wrapper for each, because one function may subscribe twice.
    const added = (): void => listener();
    this.#listeners.add(added);
    this.#cancelStop?.();
    this.#cancelStop = undefined;
    this.#stop ??= this.#start((change) => this.#set(change));
    return () => {
      if (!this.#listeners.delete(added) || this.#listeners.size > 0) return;
      this.#cancelStop = afterThisTurn(() => {
        this.#cancelStop = undefined;
        this.#stop?.();
        this.#stop = undefined;
        this.#onIdle();
      });
    };
  };

  #set(change: (value: Value) => Value): void {
    const changed = change(this.#value);
    if (Object.is(changed, this.#value)) return;
    this.#value = changed;
    for (const listener of this.#listeners) listener();
  }
}

/** The newest `keep`, in a new list. */
export function withNewest<Item>(items: readonly Item[], item: Item, keep: number): readonly Item[] {
  return [...items, item].slice(-keep);
}
