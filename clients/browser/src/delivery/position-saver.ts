// message-delivery -> here -> the application's `savePosition`: saves the client's position.
// Guarantees: calls never overlap, so an older position cannot overwrite a newer one. Of the positions that wait, only
// the newest is saved. A call that fails or hangs is reported, and delays later ones for a bounded time.
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

  /** Saves at once, or when the previous call has ended. */
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
        // A synchronous one is done at this point: the page may be about to close.
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
