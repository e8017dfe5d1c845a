// Hands received messages to the application, one after the other.
// Guarantees: order is the order of `push`; the next starts when the one before has finished; none starts
// while paused.

export interface Pumped {
  /** Runs the application's handlers; must not reject. */
  readonly handle: () => Promise<void>;
  readonly id: string;
}

export class MessagePump<Item extends Pumped> {
  #waiting: Item[] = [];
  #running: Promise<void> | undefined;
  readonly #mayRun: () => boolean;

  /** @param mayRun asked before each message; call `resume` when its answer turns to true */
  constructor(mayRun: () => boolean) {
    this.#mayRun = mayRun;
  }

  push(item: Item): void {
    this.#waiting.push(item);
    this.resume();
  }

  /** Drops the one with this id, where it has not started. */
  remove(id: string): void {
    const place = this.#waiting.findIndex((item) => item.id === id);
    if (place !== -1) this.#waiting.splice(place, 1);
  }

  resume(): void {
    if (this.#running !== undefined || this.#waiting.length === 0 || !this.#mayRun()) return;
    // Begins in a microtask, so that a handler which asks for `settled` finds itself running.
    this.#running = Promise.resolve()
      .then(() => this.#run())
      .finally(() => {
        this.#running = undefined;
        // Something may have come between the last look at the queue and now.
        this.resume();
      });
  }

  /** Drops what has not started. @returns what was dropped */
  clear(): Item[] {
    return this.#waiting.splice(0);
  }

  /** Resolves when the message that is being handled, if any, has been handled. */
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
