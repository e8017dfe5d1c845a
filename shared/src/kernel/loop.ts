// services/dispatch -> here: work that repeats until the process stops.
// Guarantees: one round at a time; a stop cuts the pause short, and resolves when the round under way has ended.
import type { CommonTicks } from "./common-tick.js";
import { pause } from "./pause.js";

/**
 * Handles its own errors: an error it throws ends the loop and rejects `stop`.
 * @param signal aborted when the loop must stop
 * @returns the pause before the next round, ms
 */
export type Round = (signal: AbortSignal) => Promise<number>;

export class Loop {
  readonly #round: Round;
  readonly #pause: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  /** @param ticks where its pauses of a second or more end, if anywhere */
  constructor(round: Round, ticks?: Pick<CommonTicks, "pause">) {
    this.#round = round;
    this.#pause = ticks === undefined ? pause : (ms, signal) => ticks.pause(ms, signal);
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
    while (!signal.aborted) await this.#pause(await this.#round(signal), signal);
  }
}
