// security/authenticate-signature -> here: which nonces of signed requests have come before, for all processes.
// Guarantees: of several that bring the same at once, one is told that it is new; constant in size, whatever was sent;
// kept for longer than a signature can pass again.
import { hash } from "node:crypto";
import { authKeys } from "./auth-keys.js";
import { awaitAnswer } from "./await-answer.js";
import type { Redis } from "./connect.js";

/**
 * A signature may be 300 s ahead when it first passes, and passes until it is 300 s old: 600 s. The rest is for what the
 * clocks of two processes may differ.
 */
export const NONCE_KEEP_MS = 660_000;

/** Of a SHA-256 in base64url: 132 bits, so that nobody finds two nonces with one name. */
const DIGEST_LENGTH = 22;

export class SpentNonces {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /**
   * Bound, so that it can be handed over as `spendNonce`.
   * @returns whether this is the first time
   * @throws PetrelError PETREL_UNAVAILABLE where Redis does not answer, or is full: then the request must not pass,
   * though its nonce may be spent
   */
  readonly spend = async (keyId: string, nonce: string): Promise<boolean> => {
    // A key's id has no line break: no other pair reads the same.
    const name = hash("sha256", `${keyId}\n${nonce}`, "base64url").slice(0, DIGEST_LENGTH);
    const answer = await awaitAnswer(
      this.#redis.set(authKeys.spentNonce(name), "", "PX", NONCE_KEEP_MS, "NX"),
    );
    return answer === "OK";
  };
}
