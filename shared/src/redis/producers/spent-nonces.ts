// security/authenticate-signature -> here: which nonces of signed requests were used, for all processes.
// Guarantees: of several requests with the same nonce, one is told that it is new. If an answer is lost, the write is
// repeated and recognised by its mark. Entries have a constant size, whatever was sent, and outlive the time in which a
// signature can pass again.
import { hash, randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { backoffMs } from "../../kernel/backoff.js";
import { type Clock, systemClock } from "../../kernel/clock.js";
import { authKeys } from "../auth/auth-keys.js";
import { awaitAnswer } from "../connection/await-answer.js";
import { isConnectionError, type Redis } from "../connection/connect.js";

/**
 * A signature may be 300 s ahead when it first passes, and passes until it is 300 s old: 600 s. The rest covers clock
 * differences between processes.
 */
export const NONCE_KEEP_MS = 660_000;

/** Characters of a SHA-256 in base64url: 132 bits, so nobody can find two nonces with the same name. */
const DIGEST_LENGTH = 22;
/** Tells one request's writes from another's. */
const MARK_BYTES = 9;
const BACKOFF = { baseMs: 50, capMs: 250 } as const;
const LEAST_WAIT_MS = 10;

export interface SpentNoncesOptions {
  /** How long a write is retried if Redis does not answer. No retries by default. */
  readonly deadlineMs?: number;
  readonly clock?: Clock;
}

export class SpentNonces {
  readonly #redis: Redis;
  readonly #deadlineMs: number;
  readonly #clock: Clock;

  constructor(redis: Redis, { deadlineMs = 0, clock = systemClock }: SpentNoncesOptions = {}) {
    this.#redis = redis;
    this.#deadlineMs = deadlineMs;
    this.#clock = clock;
  }

  /**
   * Bound, so that it can be passed as `spendNonce`.
   * @returns whether this is the first use
   * @throws PetrelError PETREL_UNAVAILABLE if Redis does not answer or is full: the request must not pass, although its
   * nonce may be spent
   */
  readonly spend = async (keyId: string, nonce: string): Promise<boolean> => {
    // A key's id has no line break, so no other pair makes the same text.
    const name = hash("sha256", `${keyId}\n${nonce}`, "base64url").slice(0, DIGEST_LENGTH);
    const mark = randomBytes(MARK_BYTES).toString("base64url");
    const before = await awaitAnswer(this.#writeUntilAnswered(authKeys.spentNonce(name), mark));
    return before === null || before === mark;
  };

  /** @returns what was there before: nothing, this mark (from an attempt whose answer was lost), or another's mark */
  async #writeUntilAnswered(key: string, mark: string): Promise<string | null> {
    const startMs = this.#clock.monotonicMs();
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#redis.set(key, mark, "PX", NONCE_KEEP_MS, "NX", "GET");
      } catch (error) {
        const waitMs = LEAST_WAIT_MS + backoffMs(attempt, BACKOFF);
        const isTooLate = this.#clock.monotonicMs() + waitMs - startMs > this.#deadlineMs;
        if (isTooLate || !mayHelpAgain(error)) throw error;
        await sleep(waitMs);
      }
    }
  }
}

/** A Redis that is full or cannot write its files would give the same error again. */
function mayHelpAgain(error: unknown): boolean {
  return isConnectionError(error) && !(error instanceof Error && /^(OOM|MISCONF)\b/.test(error.message));
}
