// apns-pool -> here -> fallback/provider-token-store: the ES256 token that shows Apple who we are.
// Guarantees: one token for each key in the whole cluster: a new one counts only once Redis has agreed to it, about
// every 50 minutes, and never within 20 of the last; while Redis is away the one in hand is used as long as it is good.
import { createHash, createPublicKey, sign, type KeyObject } from "node:crypto";
import type { Clock } from "@petrel/shared/kernel/clock";
import type {
  ProviderTokenStore,
  StoredProviderToken,
} from "@petrel/shared/redis/fallback/provider-token-store";

export interface ProviderTokensOptions {
  readonly store: Pick<ProviderTokenStore, "read" | "agree">;
  /** Ten characters each, from Apple's developer pages. */
  readonly keyId: string;
  readonly teamId: string;
  /** An EC P-256 private key, from the .p8 file. */
  readonly privateKey: KeyObject;
  readonly clock: Pick<Clock, "wallMs">;
}

const MINUTE_MS = 60_000;
/** Apple takes tokens of up to an hour. */
export const RENEW_AFTER_MS = 50 * MINUTE_MS;
const GOOD_FOR_MS = 58 * MINUTE_MS;
/** Apple refuses to see a new one sooner: TooManyProviderTokenUpdates. */
export const MIN_INTERVAL_MS = 20 * MINUTE_MS;

export class ProviderTokens {
  readonly #options: ProviderTokensOptions;
  /** Of this very key: a wrong file under the right key id must not speak for the right one, nor outlast its mending. */
  readonly #fingerprint: string;
  #cached: StoredProviderToken | undefined;
  #agreeing: Promise<string> | undefined;

  constructor(options: ProviderTokensOptions) {
    this.#options = options;
    const publicKey = createPublicKey(options.privateKey).export({ type: "spki", format: "der" });
    this.#fingerprint = createHash("sha256").update(publicKey).digest("base64url").slice(0, 16);
  }

  /** @throws PetrelError PETREL_UNAVAILABLE where Redis does not answer and there is no token that is good */
  async current(): Promise<string> {
    const cached = this.#cached;
    if (cached !== undefined && this.#ageMs() < RENEW_AFTER_MS) return cached.token;
    this.#agreeing ??= this.#agree(RENEW_AFTER_MS).finally(() => (this.#agreeing = undefined));
    try {
      return await this.#agreeing;
    } catch (error) {
      if (cached !== undefined && this.#ageMs() < GOOD_FOR_MS) return cached.token;
      throw error;
    }
  }

  /**
   * @param expired a token that Apple has refused as expired
   * @returns another one; the same where it was made less than 20 minutes ago: then a clock is wrong, and a new one
   * would not help
   */
  async replace(expired: string): Promise<string> {
    if (this.#agreeing !== undefined) await this.#agreeing.catch(() => undefined);
    if (this.#cached !== undefined && this.#cached.token !== expired) return this.#cached.token;
    this.#agreeing ??= this.#agree(MIN_INTERVAL_MS).finally(() => (this.#agreeing = undefined));
    return this.#agreeing;
  }

  /** Proposes a token, and takes the one that counts. */
  async #agree(minIntervalMs: number): Promise<string> {
    const { store, keyId, teamId, clock } = this.#options;
    const key = { teamId, keyId, fingerprint: this.#fingerprint };
    const stored = await store.read(key);
    if (stored !== undefined) {
      const ageMs = clock.wallMs() - stored.mintedAtMs;
      if (ageMs < minIntervalMs && ageMs > -MIN_INTERVAL_MS) return this.#keep(stored);
    }
    const candidate = { mintedAtMs: clock.wallMs(), token: this.#mint() };
    return this.#keep(await store.agree(key, candidate, MIN_INTERVAL_MS));
  }

  #keep(stored: StoredProviderToken): string {
    this.#cached = stored;
    return stored.token;
  }

  /** By the wall clock, as Apple sees it. Where that was set back Apple says so: see `replace`. */
  #ageMs(): number {
    return this.#cached === undefined ? Infinity : this.#options.clock.wallMs() - this.#cached.mintedAtMs;
  }

  /** RFC 7519, RFC 7518 3.4; the claims are Apple's: iss and iat, nothing else. */
  #mint(): string {
    const { keyId, teamId, privateKey, clock } = this.#options;
    const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
    const content = `${part({ alg: "ES256", kid: keyId })}.${part({ iss: teamId, iat: Math.floor(clock.wallMs() / 1000) })}`;
    const signature = sign("sha256", Buffer.from(content), { key: privateKey, dsaEncoding: "ieee-p1363" });
    return `${content}.${signature.toString("base64url")}`;
  }
}
