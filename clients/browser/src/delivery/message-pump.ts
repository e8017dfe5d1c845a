// Hands received messages to the application, one after the other.
// Guarantees: keeps the order of `push`; each starts when the one before has finished; none starts while paused.

export interface Pumped {
  /** Runs the application's handlers; must not reject. */
  readonly handle: () => Promise<void>;
  readonly id: string;
}

export class MessagePump<Item extends Pumped> {
  #waiting: Item[] = [];
  #running: Promise<void> | undefined;
  readonly #mayRun: () => boolean;

  /** @param mayRun asked before each message; call `resume` when the answer becomes true */
  constructor(mayRun: () => boolean) {
    this.#mayRun = mayRun;
  }

  /** How many have not started. */
  get waiting(): number {
    return this.#waiting.length;
  }

  push(item: Item): void {
    this.#waiting.push(item);
    this.resume();
  }

  /** Drops the message with this id, unless it has started. */
  remove(id: string): void {
    const place = this.#waiting.findIndex((item) => item.id === id);
    if (place !== -1) this.#waiting.splice(place, 1);
  }

  /** Replaces what is done in the turn of the message with this id, unless it has started. */
  replace(id: string, handleOf: (item: Item) => Pumped["handle"]): void {
    const place = this.#waiting.findIndex((item) => item.id === id);
    const item = this.#waiting[place];
    if (item !== undefined) this.#waiting[place] = { ...item, handle: handleOf(item) };
  }

  resume(): void {
    if (this.#running !== undefined || this.#waiting.length === 0 || !this.#mayRun()) return;
    // Starts in a microtask, so that a handler that awaits `settled` counts as running.
    this.#running = Promise.resolve()
      .then(() => this.#run())
      .finally(() => {
        this.#running = undefined;
        // A message may have arrived since the last look at the queue.
        this.resume();
      });
  }

  /** Drops everything that has not started. @returns what was dropped */
  clear(): Item[] {
    return this.#waiting.splice(0);
  }

  /** Resolves when the message being handled, if any, is done. */
  async settled(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    for (let next = this.#take(); next !== undefined; next = this.#take()) await next.handle();
  }

  #take(): Item | undefined {
    return this.#mayRun() ? this.#waiting.shift() : undefined;
  }
}
