// The public keys by which a node checks tokens without asking auth each time.
// Guarantees: auth is asked at most once per `cooldownMs` and by one request at a time, whatever tokens arrive; the
// last good keys stay while auth is down; only public ES256 and RS256 keys are ever taken.
import { type Clock, systemClock } from "../kernel/clock.js";
import { describeError, PetrelError } from "../kernel/errors.js";
import type { Logger } from "../kernel/logging.js";
import { fetchJson } from "./fetch-json.js";
import { readPublicJwk } from "./public-jwk.js";
import type { VerificationKey } from "./verify-token.js";

export interface JwksCacheOptions {
  /** Where auth answers, such as http://127.0.0.1:7101. */
  readonly authUrl: string;
  readonly logger: Logger;
  /** Default 3000. */
  readonly timeoutMs?: number;
  /** An unknown `kid` leads to a new fetch only this long after the last one. Default 5000. */
  readonly cooldownMs?: number;
  /** Keys older than this are fetched anew in the background when one is used. Default 300000. */
  readonly maxAgeMs?: number;
  readonly clock?: Clock;
}

const MAX_BODY_BYTES = 65_536;
const MAX_KEYS = 64;

export class JwksCache {
  readonly #url: string;
  readonly #options: Required<Omit<JwksCacheOptions, "authUrl">>;
  #keys: ReadonlyMap<string, VerificationKey> = new Map();
  #triedAtMs = Number.NEGATIVE_INFINITY;
  #loadedAtMs = Number.NEGATIVE_INFINITY;
  #lastFailure: unknown = undefined;
  #underWay: Promise<void> | undefined;

  constructor({
    authUrl,
    logger,
    timeoutMs = 3_000,
    cooldownMs = 5_000,
    maxAgeMs = 300_000,
    clock = systemClock,
  }: JwksCacheOptions) {
    this.#url = `${authUrl.replace(/\/+$/, "")}/.well-known/jwks.json`;
    this.#options = { logger, timeoutMs, cooldownMs, maxAgeMs, clock };
  }

  /**
   * Bound, to be handed to createVerifyToken.
   * @returns undefined where auth, asked lately, has no such key
   * @throws PetrelError PETREL_UNAVAILABLE where the key is not known and auth does not answer
   */
  readonly findKey = async (kid: string): Promise<VerificationKey | undefined> => {
    const { clock, cooldownMs, maxAgeMs } = this.#options;
    const known = this.#keys.get(kid);
    const nowMs = clock.monotonicMs();
    const mayFetch = this.#underWay !== undefined || nowMs - this.#triedAtMs >= cooldownMs;
    if (known !== undefined) {
      if (mayFetch && nowMs - this.#loadedAtMs >= maxAgeMs) void this.refresh();
      return known;
    }
    if (mayFetch) await this.refresh();
    const found = this.#keys.get(kid);
    if (found === undefined && this.#lastFailure !== undefined) {
      throw new PetrelError("PETREL_UNAVAILABLE", "The token cannot be checked now: auth does not answer.", {
        cause: this.#lastFailure,
      });
    }
    return found;
  };

  /** Fetches the keys now, or joins the fetch under way; never rejects: a failure is logged, and the old keys stay. */
  refresh(): Promise<void> {
    this.#underWay ??= this.#load().finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }

  async #load(): Promise<void> {
    const { clock, logger, timeoutMs } = this.#options;
    this.#triedAtMs = clock.monotonicMs();
    try {
      const { status, body } = await fetchJson(this.#url, { timeoutMs, maxBytes: MAX_BODY_BYTES });
      if (status !== 200) throw new Error(`auth answered ${status}`);
      this.#keys = readKeySet(body, logger);
      this.#loadedAtMs = clock.monotonicMs();
      this.#lastFailure = undefined;
    } catch (error) {
      this.#lastFailure = error;
      logger.warn(
        { url: this.#url, reason: describeError(error) },
        "jwks: not fetched, keeping the last good keys",
      );
    }
  }
}

function readKeySet(body: unknown, logger: Logger): ReadonlyMap<string, VerificationKey> {
  const entries: unknown = (body as Readonly<Record<string, unknown>> | null)?.["keys"];
  if (!Array.isArray(entries)) throw new Error("the answer is not a JWK set");
  const keys = new Map<string, VerificationKey>();
  for (const entry of entries.slice(0, MAX_KEYS) as unknown[]) {
    try {
      const key = readPublicJwk(entry);
      if (keys.has(key.kid)) throw new Error(`the kid ${key.kid} stands twice`);
      keys.set(key.kid, key);
    } catch (error) {
      logger.warn({ reason: describeError(error) }, "jwks: a key is not taken");
    }
  }
  if (keys.size === 0) throw new Error("the JWK set has no key that can be used");
  return keys;
}
