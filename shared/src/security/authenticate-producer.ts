// First step of every request of a business system: who sends this, and what may they do.
// Guarantees: a key's record is read once a second and process, whatever the load, unknown keys included; a revoked key
// is refused everywhere when that time is over; an unknown key costs what a wrong secret costs.
import { randomBytes, timingSafeEqual } from "node:crypto";
import { type Clock, systemClock } from "../kernel/clock.js";
import { describeError, PetrelError } from "../kernel/errors.js";
import { RecentMap } from "../kernel/recent-map.js";
import type { ProducerScope } from "../protocol/producer-scopes.js";
import { SignatureAuthenticator } from "./authenticate-signature.js";
import { ExpiringCache } from "./expiring-cache.js";
import { KnownProducerKey, type Producer, type StoredProducerKey } from "./known-producer-key.js";
import { parseProducerCredential, producerSecretMatches } from "./producer-keys.js";
import type { Compare } from "./request-signature.js";
import type { SignatureChecks } from "./signature-checks.js";

export type { Producer, StoredProducerKey } from "./known-producer-key.js";

export interface ProducerAuthenticatorOptions {
  /** Reads a key's record; rejects where the store does not answer. */
  readonly findKey: (keyId: string) => Promise<StoredProducerKey | undefined>;
  /** Without it signed requests are answered 503. */
  readonly signatures?: SignatureChecks | undefined;
  /** How long a record is believed; so long a revoked key may still pass. Default 1000. */
  readonly ttlMs?: number;
  /** Records kept, and as many names of unknown keys beside them. Default 10000. */
  readonly maxEntries?: number;
  readonly clock?: Clock;
  /** In constant time; only tests bring another. */
  readonly compare?: Compare;
}

export class ProducerAuthenticator {
  /** For requests with the headers of a signature instead of `Authorization`. */
  readonly signatures: SignatureAuthenticator;
  readonly #findKey: ProducerAuthenticatorOptions["findKey"];
  readonly #checks: SignatureChecks | undefined;
  readonly #clock: Clock;
  readonly #compare: Compare;
  readonly #known: ExpiringCache<KnownProducerKey>;
  // Apart from the known ones, so that a stream of invented names pushes no real key out.
  readonly #unknown: ExpiringCache<true>;
  readonly #underWay = new Map<string, Promise<KnownProducerKey | undefined>>();
  readonly #noSecretSha256: readonly Buffer[] = [randomBytes(32)];
  readonly #seen: RecentMap<true>;
  #forgotten = 0;

  constructor({
    findKey,
    signatures,
    ttlMs = 1_000,
    maxEntries = 10_000,
    clock = systemClock,
    compare = timingSafeEqual,
  }: ProducerAuthenticatorOptions) {
    this.#findKey = findKey;
    this.#checks = signatures;
    this.#clock = clock;
    this.#compare = compare;
    this.signatures = new SignatureAuthenticator({
      findKey: (keyId) => this.#find(keyId),
      spendNonce: signatures?.spendNonce,
      clock,
      compare,
    });
    this.#known = new ExpiringCache({ maxEntries, ttlMs });
    this.#unknown = new ExpiringCache({ maxEntries, ttlMs });
    this.#seen = new RecentMap(maxEntries);
  }

  /**
   * @param authorization the header's value: `Bearer <key>.<secret>`
   * @throws PetrelError PETREL_UNAUTHENTICATED where it is missing, malformed, unknown, wrong or revoked;
   * PETREL_SIGNATURE_REQUIRED where it is good, but the key's requests must be signed; PETREL_UNAVAILABLE where the key
   * is not cached and the store does not answer
   */
  async authenticate(authorization: string | undefined): Promise<Producer> {
    if (authorization === undefined) {
      throw new PetrelError("PETREL_UNAUTHENTICATED", "Send Authorization: Bearer <key>.<secret>.");
    }
    const credential = parseProducerCredential(authorization);
    if (credential === undefined) {
      throw new PetrelError("PETREL_UNAUTHENTICATED", "The credential is not of the form <key>.<secret>.");
    }
    const found = this.#find(credential.keyId);
    const key = found instanceof Promise ? await found : found;
    const hashes = key?.goodHashes(this.#clock) ?? this.#noSecretSha256;
    const matches = producerSecretMatches(credential.secret, hashes, this.#compare);
    if (key === undefined || !matches) {
      throw new PetrelError(
        "PETREL_UNAUTHENTICATED",
        "The key is unknown or revoked, or its secret is wrong.",
      );
    }
    if (key.requiresSignature) {
      throw new PetrelError("PETREL_SIGNATURE_REQUIRED", "Requests of this key must be signed.");
    }
    return key.producer;
  }

  /** Whether this process has found such a key before; a limit on look-ups does not count for it. */
  hasSeen(keyId: string): boolean {
    return this.#seen.get(keyId) === true;
  }

  /** Changes whenever a key is forgotten: who remembers an answer asks again then. */
  get forgotten(): number {
    return this.#forgotten;
  }

  /** Drops what is cached of a key, so that a change made by this process counts here at once. */
  forget(keyId: string): void {
    this.#forgotten++;
    this.#known.delete(keyId);
    this.#unknown.delete(keyId);
    this.#underWay.delete(keyId);
  }

  #find(keyId: string): KnownProducerKey | undefined | Promise<KnownProducerKey | undefined> {
    const nowMs = this.#clock.monotonicMs();
    return this.#known.get(keyId, nowMs) ?? this.#lookUp(keyId, nowMs);
  }

  async #lookUp(keyId: string, nowMs: number): Promise<KnownProducerKey | undefined> {
    if (this.#unknown.get(keyId, nowMs) === true) return undefined;
    const shared = this.#underWay.get(keyId);
    if (shared !== undefined) return shared;
    const reading = this.#read(keyId);
    this.#underWay.set(keyId, reading);
    try {
      const key = await reading;
      // Forgotten meanwhile: what was read may be from before the change.
      if (this.#underWay.get(keyId) === reading) {
        if (key === undefined) this.#unknown.set(keyId, true, nowMs);
        else {
          this.#known.set(keyId, key, nowMs);
          this.#seen.set(keyId, true);
        }
      }
      return key;
    } finally {
      if (this.#underWay.get(keyId) === reading) this.#underWay.delete(keyId);
    }
  }

  async #read(keyId: string): Promise<KnownProducerKey | undefined> {
    let stored: StoredProducerKey | undefined;
    try {
      stored = await this.#findKey(keyId);
    } catch (error) {
      throw new PetrelError("PETREL_UNAVAILABLE", "The producer's key cannot be checked now.", {
        cause: error,
      });
    }
    if (stored === undefined || stored.revokedAt !== undefined) return undefined;
    return new KnownProducerKey(stored, this.#checks?.openSecret, (error) => {
      this.#checks?.logger.error(
        { keyId, reason: describeError(error) },
        "the secret of a key that signs cannot be opened: is KEY_ENCRYPTION_FILE the one that auth has?",
      );
    });
  }
}

/** @throws PetrelError PETREL_FORBIDDEN where the producer's key lacks the scope */
export function requireScope(producer: Producer, scope: ProducerScope): void {
  if (producer.scopes.includes(scope)) return;
  throw new PetrelError("PETREL_FORBIDDEN", `This needs a key with the scope "${scope}".`, {
    details: { scope },
  });
}
