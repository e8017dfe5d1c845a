// The public keys that check tokens without asking their issuer (auth, or an external one) each time.
// Guarantees: the issuer is asked at most once per `cooldownMs`, by one request at a time, whatever tokens arrive. A
// key that it has withdrawn is used for `staleAfterMs` at most; while it is down, the last valid keys stay in use. Only
// public ES256 and RS256 keys are ever accepted. A key that is published again unchanged stays the same object; a
// changed one is a new object.
import type { ClientTlsFiles } from "../../kernel/calls/client-tls-files.js";
import { type Clock, systemClock } from "../../kernel/clock.js";
import { describeError, describeWithCause, PetrelError } from "../../kernel/errors.js";
import type { Logger } from "../../kernel/logging/logging.js";
import { Outage } from "../../kernel/logging/outage.js";
import { fetchJson } from "./fetch-json.js";
import { readPublicJwk } from "./public-jwk.js";
import type { TokenSource } from "./token-source.js";
import type { VerificationKey } from "./verify-token.js";

export interface JwksCacheOptions {
  /** Of the JWK set. */
  readonly url: string;
  /** The issuer's name in messages. Default "auth". */
  readonly source?: string;
  readonly logger: Logger;
  /** Default 3000. */
  readonly timeoutMs?: number;
  /** The minimum time between two fetches because of an unknown `kid`. Default 5000. */
  readonly cooldownMs?: number;
  /** Keys older than this are fetched again in the background when one is used. Default 30000. */
  readonly maxAgeMs?: number;
  /** Keys older than this are not used until that fetch has ended, well or not. Default 60000. */
  readonly staleAfterMs?: number;
  readonly clock?: Clock;
  /** For an https URL, see fetch-json. */
  readonly tls?: ClientTlsFiles | undefined;
}

/** Where auth publishes its keys. */
export function jwksUrlOf(authUrl: string): string {
  return `${authUrl.replace(/\/+$/, "")}/.well-known/jwks.json`;
}

const MAX_BODY_BYTES = 65_536;
const MAX_KEYS = 64;
/** In one log line. */
const MAX_REASONS = 5;

export class JwksCache implements TokenSource {
  readonly #options: Required<Omit<JwksCacheOptions, "tls">> & Pick<JwksCacheOptions, "tls">;
  #keys: ReadonlyMap<string, VerificationKey> = new Map();
  #triedAtMs = Number.NEGATIVE_INFINITY;
  #loadedAtMs = Number.NEGATIVE_INFINITY;
  #lastFailure: unknown = undefined;
  readonly #outage: Outage;
  /** Why some keys are unused, as last logged. */
  #leftOut: readonly string[] = [];
  #underWay: Promise<void> | undefined;

  constructor({
    url,
    source = "auth",
    logger,
    timeoutMs = 3_000,
    cooldownMs = 5_000,
    maxAgeMs = 30_000,
    staleAfterMs = 60_000,
    clock = systemClock,
    tls,
  }: JwksCacheOptions) {
    this.#options = { url, source, logger, timeoutMs, cooldownMs, maxAgeMs, staleAfterMs, clock, tls };
    this.#outage = new Outage({
      logger,
      clock,
      failing: "jwks: not fetched, keeping the last good keys",
      over: "jwks: fetched again",
      fields: { url },
    });
  }

  /**
   * Bound, to be passed to createVerifyToken.
   * @returns undefined if the issuer, asked recently, has no such key
   * @throws PetrelError PETREL_UNAVAILABLE if the key is not known and the issuer does not answer
   */
  readonly findKey = async (kid: string): Promise<VerificationKey | undefined> => {
    const { source, clock, cooldownMs, maxAgeMs, staleAfterMs } = this.#options;
    const known = this.#keys.get(kid);
    const nowMs = clock.monotonicMs();
    const mayFetch = this.#underWay !== undefined || nowMs - this.#triedAtMs >= cooldownMs;
    const ageMs = nowMs - this.#loadedAtMs;
    if (known !== undefined && ageMs < staleAfterMs) {
      if (mayFetch && ageMs >= maxAgeMs) void this.refresh();
      return known;
    }
    if (mayFetch) await this.refresh();
    const found = this.#keys.get(kid);
    if (found === undefined && this.#lastFailure !== undefined) {
      throw new PetrelError(
        "PETREL_UNAVAILABLE",
        `The token cannot be checked now: ${source} does not answer.`,
        {
          cause: this.#lastFailure,
        },
      );
    }
    return found;
  };

  get source(): "auth" | "external" {
    return this.#options.source === "auth" ? "auth" : "external";
  }

  get problem(): string | undefined {
    return this.#outage.reason;
  }

  get keyCounts(): { readonly taken: number; readonly leftOut: number } {
    return { taken: this.#keys.size, leftOut: this.#leftOut.length };
  }

  /** Does not wait for a fetch: rejects if one has failed and there are no keys at all. */
  readonly check = (): Promise<void> => {
    const { clock, cooldownMs } = this.#options;
    const isInDoubt = this.#keys.size === 0 || this.#outage.reason !== undefined;
    if (isInDoubt && clock.monotonicMs() - this.#triedAtMs >= cooldownMs) void this.refresh();
    const problem = this.#keys.size === 0 ? this.#outage.reason : undefined;
    return problem === undefined ? Promise.resolve() : Promise.reject(new Error(problem));
  };

  /**
   * Fetches the keys now, or joins the fetch in progress. Never rejects: a failure is logged, and the old keys stay.
   */
  refresh(): Promise<void> {
    this.#underWay ??= this.#load().finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }

  async #load(): Promise<void> {
    const { url, source, clock, timeoutMs, tls } = this.#options;
    this.#triedAtMs = clock.monotonicMs();
    try {
      const { status, body } = await fetchJson(url, { timeoutMs, maxBytes: MAX_BODY_BYTES, tls });
      if (status !== 200) throw new Error(`${source} answered ${status}`);
      const { keys, leftOut } = readKeySet(body);
      this.#tellLeftOut(leftOut);
      if (keys.size === 0) throw new Error("the JWK set has no key that can be used");
      this.#keys = withKnown(keys, this.#keys);
      this.#loadedAtMs = clock.monotonicMs();
      this.#lastFailure = undefined;
      this.#outage.end();
    } catch (error) {
      this.#lastFailure = error;
      this.#outage.fail(describeWithCause(error));
    }
  }

  /** Logged once per change, not at each fetch. */
  #tellLeftOut(leftOut: readonly string[]): void {
    const { logger, url } = this.#options;
    if (leftOut.join("\n") === this.#leftOut.join("\n")) return;
    this.#leftOut = leftOut;
    const count = leftOut.length;
    if (count === 0) logger.info({ url }, "jwks: all keys are accepted again");
    else
      logger.warn(
        { url, count, reasons: [...new Set(leftOut)].slice(0, MAX_REASONS) },
        "jwks: some keys are not accepted",
      );
  }
}

/** Keeps known key objects: results in verified-token-cache are bound to the object that checked them. */
function withKnown(
  fetched: ReadonlyMap<string, VerificationKey>,
  known: ReadonlyMap<string, VerificationKey>,
): ReadonlyMap<string, VerificationKey> {
  return new Map(
    [...fetched].map(([kid, key]) => {
      const former = known.get(kid);
      return [kid, former?.alg === key.alg && former.key.equals(key.key) ? former : key];
    }),
  );
}

interface ReadKeySet {
  readonly keys: ReadonlyMap<string, VerificationKey>;
  /** The reason for each key that was not accepted. */
  readonly leftOut: readonly string[];
}

function readKeySet(body: unknown): ReadKeySet {
  const entries: unknown = (body as Readonly<Record<string, unknown>> | null)?.["keys"];
  if (!Array.isArray(entries)) throw new Error("the answer is not a JWK set");
  const keys = new Map<string, VerificationKey>();
  const leftOut: string[] = [];
  for (const [index, entry] of (entries as unknown[]).entries()) {
    if (index >= MAX_KEYS) {
      leftOut.push(`there are more than ${MAX_KEYS}: only the first are taken`);
      continue;
    }
    try {
      const key = readPublicJwk(entry);
      if (keys.has(key.kid)) throw new Error(`the kid ${key.kid} occurs twice`);
      keys.set(key.kid, key);
    } catch (error) {
      leftOut.push(describeError(error));
    }
  }
  return { keys, leftOut };
}
