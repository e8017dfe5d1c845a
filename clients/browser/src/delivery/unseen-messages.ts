// message-delivery -> here: remembers what was handled while nobody could see it.
// Guarantees: released once the page is visible, together with everything before it.
import type { Position } from "./user-sequence.js";

export class UnseenMessages {
  readonly #isHidden: () => boolean;
  #newest: Position | undefined;

  /** @param isHidden whether nobody can see the page now */
  constructor(isHidden: () => boolean) {
    this.#isHidden = isHidden;
  }

  /** @returns whether it has to wait until the page is visible */
  hold(epoch: string, seq: number): boolean {
    if (!this.#isHidden()) return false;
    const before = this.#newest?.epoch === epoch ? this.#newest.since : 0;
    this.#newest = { epoch, since: Math.max(before, seq) };
    return true;
  }

  /** @returns up to where everything has been seen now; undefined if nothing was waiting, or still is */
  release(): Position | undefined {
    if (this.#isHidden()) return undefined;
    const newest = this.#newest;
    this.#newest = undefined;
    return newest;
  }
}
