// message-delivery -> here: what was handled while nobody could see it.
// Guarantees: it comes out once the page is visible, and covers everything before it.
import type { Position } from "./user-sequence.js";

export class UnseenMessages {
  readonly #isHidden: () => boolean;
  #newest: Position | undefined;

  /** @param isHidden whether nobody can see the page now */
  constructor(isHidden: () => boolean) {
    this.#isHidden = isHidden;
  }

  /** @returns whether it has to wait until the page is seen */
  hold(epoch: string, seq: number): boolean {
    if (!this.#isHidden()) return false;
    const before = this.#newest?.epoch === epoch ? this.#newest.since : 0;
    this.#newest = { epoch, since: Math.max(before, seq) };
    return true;
  }

  /** @returns everything up to here is seen now; undefined where nothing waited, or still does */
  release(): Position | undefined {
    if (this.#isHidden()) return undefined;
    const newest = this.#newest;
    this.#newest = undefined;
    return newest;
  }
}
