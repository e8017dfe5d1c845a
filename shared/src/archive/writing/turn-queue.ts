// archive-writer -> here: hands on together what arrives in one turn of the event loop.
// Guarantees: one batch at a time, in the order of arrival, so results keep that order. Load makes batches larger, not
// more frequent.

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

export class TurnQueue<Item, Result> {
  readonly #handOn: (items: readonly Item[]) => Promise<readonly (Result | Error)[]>;
  readonly #maxItems: number;
  #waiting: Waiting<Item, Result>[] = [];
  #isRunning = false;

  /** @param handOn resolves with one result per item, in order, or rejects for all of them */
  constructor(handOn: (items: readonly Item[]) => Promise<readonly (Result | Error)[]>, maxItems: number) {
    this.#handOn = handOn;
    this.#maxItems = maxItems;
  }

  add(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      if (this.#isRunning) return;
      this.#isRunning = true;
      setImmediate(() => void this.#run());
    });
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) await this.#handOnSome(this.#waiting.splice(0, this.#maxItems));
    this.#isRunning = false;
  }

  async #handOnSome(some: readonly Waiting<Item, Result>[]): Promise<void> {
    try {
      const results = await this.#handOn(some.map(({ item }) => item));
      for (const [i, { resolve, reject }] of some.entries()) {
        const result = results[i];
        if (result === undefined) reject(new Error("too few results"));
        else if (result instanceof Error) reject(result);
        else resolve(result);
      }
    } catch (error) {
      for (const { reject } of some) reject(error);
    }
  }
}
