// message-delivery -> here -> the application's `savePosition`: keeps where the client is, one call at a time.
// Guarantees: never two calls at once, so that an older position cannot overwrite a newer one; of those that wait only
// the newest is kept; a call that fails, or never ends, is reported and holds up later ones for a bounded time.
import { within } from "../deadline.js";
import type { Position } from "./user-sequence.js";

export type SavePosition = (position: Position) => void | Promise<void>;

export interface PositionSaverOptions {
  readonly save: SavePosition;
  /** How long one call may take. */
  readonly timeoutMs: number;
  readonly onFailure: (cause: unknown) => void;
}

export class PositionSaver {
  readonly #options: PositionSaverOptions;
  #waiting: Position | undefined;
  #isSaving = false;
  #saved: Promise<void> = Promise.resolve();

  constructor(options: PositionSaverOptions) {
    this.#options = options;
  }

  /** At once, or when the call before has ended. */
  save(position: Position): void {
    this.#waiting = position;
    if (!this.#isSaving) this.#saved = this.#saveAll();
  }

  /** Resolves when nothing waits any more, or after `ms`. */
  async settled(ms: number): Promise<void> {
    await within(this.#saved, ms).catch(() => undefined);
  }

  async #saveAll(): Promise<void> {
    const { save, timeoutMs, onFailure } = this.#options;
    this.#isSaving = true;
    for (let next = this.#take(); next !== undefined; next = this.#take()) {
      try {
        const result = save(next);
        // One that is not async is done: the page may be about to go.
        if (result !== undefined) await within(Promise.resolve(result), timeoutMs);
      } catch (cause) {
        onFailure(cause);
      }
    }
    this.#isSaving = false;
  }

  #take(): Position | undefined {
    const next = this.#waiting;
    this.#waiting = undefined;
    return next;
  }
}
