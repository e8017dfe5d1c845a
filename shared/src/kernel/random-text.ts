// accept-batch, route-batches, message-id, push-node/open-handshakes -> here: random text, many times a second.
// Guarantees: it comes from the system's generator, like `randomBytes`, and no bytes are used twice. A pool amortises
// the call, which costs as much as all other work on a small message.
import { randomFillSync } from "node:crypto";

/** Texts per call of the generator. */
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
    // Overwrite what was given out, so that it cannot be read from the pool again.
    this.#pool.fill(0, start, this.#used);
    return text;
  }
}
