// First step of every request of a business system: who sends this, and what may they do?
// Guarantees: each process reads a key's record about once a second, whatever the load, including unknown keys. A
// revoked key is refused everywhere after that time. If the store does not answer, a key that was valid a moment ago
// passes (producer-key-cache). An unknown key costs as much as a wrong secret.
import { randomBytes, timingSafeEqual } from "node:crypto";
import { type Clock, systemClock } from "../../kernel/clock.js";
import { describeError, PetrelError } from "../../kernel/errors.js";
import type { ProducerScope } from "../../protocol/producer-scopes.js";
import { SignatureAuthenticator } from "./authenticate-signature.js";
import { suspended } from "./suspended-key.js";
import { KnownProducerKey, type Producer, type StoredProducerKey } from "./known-producer-key.js";
import { ProducerKeyCache } from "./producer-key-cache.js";
import { parseProducerCredential, producerSecretMatches } from "./producer-keys.js";
import type { Compare } from "./request-signature.js";
import type { SignatureChecks } from "./signature-checks.js";

export type { Producer, StoredProducerKey } from "./known-producer-key.js";

export interface ProducerAuthenticatorOptions {
  /** Reads a key's record; rejects if the store does not answer. */
  readonly findKey: (keyId: string) => Promise<StoredProducerKey | undefined>;
  /** Without it signed requests are answered with 503. */
  readonly signatures?: SignatureChecks | undefined;
  /** How long a record is trusted while the store answers; a revoked key may pass for as long. Default 1000. */
  readonly ttlMs?: number;
  /** How old a record may be if the store does not answer. Default 30000. */
  readonly staleMs?: number;
  /** How long to retry the look-up of an uncached key if the store does not answer. Default: one try. */
  readonly lookUpDeadlineMs?: number;
  /** How long the first request waits for a silent store before an older record serves. Default 500. */
  readonly patienceMs?: number;
  /** Records kept, and as many unknown key ids. Default 10000. */
  readonly maxEntries?: number;
  readonly clock?: Clock;
  /** In constant time; only tests pass another. */
  readonly compare?: Compare;
}

export class ProducerAuthenticator {
  /** For requests with the headers of a signature instead of `Authorization`. */
  readonly signatures: SignatureAuthenticator;
  readonly #findKey: ProducerAuthenticatorOptions["findKey"];
  readonly #checks: SignatureChecks | undefined;
  /** What its checks go by. */
  readonly clock: Clock;
  readonly #compare: Compare;
  readonly #keys: ProducerKeyCache<KnownProducerKey>;
  readonly #noSecretSha256: readonly Buffer[] = [randomBytes(32)];

  constructor({
    findKey,
    signatures,
    ttlMs = 1_000,
    staleMs = 30_000,
    lookUpDeadlineMs = 0,
    patienceMs = 500,
    maxEntries = 10_000,
    clock = systemClock,
    compare = timingSafeEqual,
  }: ProducerAuthenticatorOptions) {
    this.#findKey = findKey;
    this.#checks = signatures;
    this.clock = clock;
    this.#compare = compare;
    this.signatures = new SignatureAuthenticator({
      findKey: (keyId) => this.#keys.find(keyId),
      spendNonce: signatures?.spendNonce,
      clock,
      compare,
    });
    this.#keys = new ProducerKeyCache({
      read: (keyId) => this.#read(keyId),
      ttlMs,
      staleMs,
      lookUpDeadlineMs,
      patienceMs,
      maxEntries,
      clock,
    });
  }

  /**
   * @param authorization the header's value: `Bearer <key>.<secret>`
   * @throws PetrelError PETREL_UNAUTHENTICATED if it is missing, malformed, unknown, wrong or revoked;
   * PETREL_KEY_SUSPENDED; PETREL_SIGNATURE_REQUIRED if it is good, but the key's requests must be signed; PETREL_UNAVAILABLE if the key is
   * not cached and the store does not answer
   */
  async authenticate(authorization: string | undefined): Promise<Producer> {
    if (authorization === undefined) {
      throw new PetrelError("PETREL_UNAUTHENTICATED", "Send Authorization: Bearer <key>.<secret>.");
    }
    const credential = parseProducerCredential(authorization);
    if (credential === undefined) {
      throw new PetrelError(
        "PETREL_UNAUTHENTICATED",
        "The credential does not have the form <key>.<secret>.",
      );
    }
    const found = this.#keys.find(credential.keyId);
    const key = found instanceof Promise ? await found : found;
    const hashes = key?.goodHashes(this.clock) ?? this.#noSecretSha256;
    const matches = producerSecretMatches(credential.secret, hashes, this.#compare);
    if (key === undefined || !matches) {
      throw new PetrelError(
        "PETREL_UNAUTHENTICATED",
        "The key is unknown or revoked, or its secret is wrong.",
      );
    }
    // Only whoever has the secret learns this.
    if (key.isSuspended) throw suspended();
    if (key.requiresSignature) {
      throw new PetrelError("PETREL_SIGNATURE_REQUIRED", "Requests of this key must be signed.");
    }
    return key.producer;
  }

  /** Whether this process has found this key before; such a key is exempt from the limit on look-ups. */
  hasSeen(keyId: string): boolean {
    return this.#keys.hasSeen(keyId);
  }

  /** Changes whenever a key is forgotten or found revoked: remembered answers must then be checked again. */
  get forgotten(): number {
    return this.#keys.forgotten;
  }

  /** Drops what is cached of a key, so that a change made by this process applies here at once. */
  forget(keyId: string): void {
    this.#keys.forget(keyId);
  }

  async #read(keyId: string): Promise<KnownProducerKey | undefined> {
    const stored = await this.#findKey(keyId);
    if (stored === undefined || stored.revokedAt !== undefined) return undefined;
    return new KnownProducerKey(stored, this.#checks?.openSecret, (error) => {
      this.#checks?.logger.error(
        { keyId, reason: describeError(error) },
        "the secret of a signing key cannot be decrypted: is KEY_ENCRYPTION_FILE the same as auth's?",
      );
    });
  }
}

/** @throws PetrelError PETREL_FORBIDDEN if the producer's key lacks the scope */
export function requireScope(producer: Producer, scope: ProducerScope): void {
  if (producer.scopes.includes(scope)) return;
  throw new PetrelError("PETREL_FORBIDDEN", `This needs a key with the scope "${scope}".`, {
    details: { scope },
  });
}
