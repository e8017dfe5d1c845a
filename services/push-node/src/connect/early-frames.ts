// push-node/connect/open-connection -> here: frames that a client sends before its `welcome`.
// Guarantees: bounded in number and size, so that an unauthenticated socket costs next to nothing to hold.

const MAX_FRAMES = 16;
const MAX_LENGTH = 16 * 1024;

export class EarlyFrames {
  #count = 0;
  #length = 0;
  readonly #texts: string[] = [];

  /** @returns false for one frame too many; control frames count too */
  count(): boolean {
    return ++this.#count <= MAX_FRAMES;
  }

  /**
   * Keeps a frame until the connection is registered.
   * @returns false if there is no room for it
   */
  keep(text: string): boolean {
    this.#length += text.length;
    if (this.#length > MAX_LENGTH) return false;
    this.#texts.push(text);
    return true;
  }

  takeAll(): string[] {
    return this.#texts.splice(0);
  }
}
