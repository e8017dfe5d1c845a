// accept-batch, message-id, push-node/open-handshakes -> here: random text, many times a second.
// Guarantees: from the system's generator, like `randomBytes`; no bytes are given out twice. They come from a pool: a call
// of the generator costs as much as the rest of a small message.
import { randomFillSync } from "node:crypto";

/** Texts that one call of the generator serves. */
const TEXTS_PER_FILL = 512;

export class RandomText {
  readonly #bytes: number;
  readonly #pool: Buffer;
  #used: number;

  /** @param bytes of randomness in each text */
  constructor(bytes: number) {
    this.#bytes = bytes;
    this.#pool = Buffer.allocUnsafe(bytes * TEXTS_PER_FILL);
    this.#used = this.#pool.length;
  }

  /** As base64url. */
  next(): string {
    if (this.#used === this.#pool.length) {
      randomFillSync(this.#pool);
      this.#used = 0;
    }
    const start = this.#used;
    this.#used += this.#bytes;
    const text = this.#pool.toString("base64url", start, this.#used);
    // What was given out must not be found here again.
    this.#pool.fill(0, start, this.#used);
    return text;
  }
}
