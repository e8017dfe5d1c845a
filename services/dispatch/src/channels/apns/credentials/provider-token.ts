// apns-pool -> here -> fallback/provider-token-store: the ES256 token that authenticates us to Apple.
// Guarantees: one token for each key in the whole cluster. A new one is used only once Redis has agreed to it, about
// every 50 minutes, and never within 20 of the last. While Redis is down, the current one is used for as long as it is
// valid.
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
/** Apple accepts tokens for up to an hour. */
export const RENEW_AFTER_MS = 50 * MINUTE_MS;
const GOOD_FOR_MS = 58 * MINUTE_MS;
/** Apple refuses more frequent updates: TooManyProviderTokenUpdates. */
export const MIN_INTERVAL_MS = 20 * MINUTE_MS;

export class ProviderTokens {
  readonly #options: ProviderTokensOptions;
  /**
   * Identifies this very key: a wrong file under the right key id must neither replace the right key's token, nor
   * outlast its correction.
   */
  readonly #fingerprint: string;
  #cached: StoredProviderToken | undefined;
  #agreeing: Promise<string> | undefined;

  constructor(options: ProviderTokensOptions) {
    this.#options = options;
    const publicKey = createPublicKey(options.privateKey).export({ type: "spki", format: "der" });
    this.#fingerprint = createHash("sha256").update(publicKey).digest("base64url").slice(0, 16);
  }

  /** @throws PetrelError PETREL_UNAVAILABLE if Redis does not answer and there is no valid token */
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
   * @returns another one; the same if it was made less than 20 minutes ago: then a clock is wrong, and a new one would
   * not help
   */
  async replace(expired: string): Promise<string> {
    if (this.#agreeing !== undefined) await this.#agreeing.catch(() => undefined);
    if (this.#cached !== undefined && this.#cached.token !== expired) return this.#cached.token;
    this.#agreeing ??= this.#agree(MIN_INTERVAL_MS).finally(() => (this.#agreeing = undefined));
    return this.#agreeing;
  }

  /** Proposes a token, and adopts the one that Redis agrees to. */
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

  /** By the wall clock, which Apple compares with. If it was set back, Apple's refusal leads to `replace`. */
  #ageMs(): number {
    return this.#cached === undefined ? Infinity : this.#options.clock.wallMs() - this.#cached.mintedAtMs;
  }

  /** RFC 7519, RFC 7518 3.4. Apple wants the claims iss and iat, and nothing else. */
  #mint(): string {
    const { keyId, teamId, privateKey, clock } = this.#options;
    const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
    const content = `${part({ alg: "ES256", kid: keyId })}.${part({ iss: teamId, iat: Math.floor(clock.wallMs() / 1000) })}`;
    const signature = sign("sha256", Buffer.from(content), { key: privateKey, dsaEncoding: "ieee-p1363" });
    return `${content}.${signature.toString("base64url")}`;
  }
}
