// services/dispatch -> here: work that repeats until the process stops.
// Guarantees: one round at a time; a stop cuts the pause short, and resolves when the round under way has ended.
import { pause } from "./pause.js";

/**
 * Handles its own errors: an error it throws ends the loop and rejects `stop`.
 * @param signal aborted when the loop must stop
 * @returns the pause before the next round, ms
 */
export type Round = (signal: AbortSignal) => Promise<number>;

export class Loop {
  readonly #round: Round;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  constructor(round: Round) {
    this.#round = round;
  }

  /** A second call does nothing. */
  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) await pause(await this.#round(signal), signal);
  }
}
