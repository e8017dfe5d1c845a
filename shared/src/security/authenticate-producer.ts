// First step of every request of a business system: who sends this, and what may they do.
// Guarantees: a key's record is read once per few seconds and process, whatever the load, unknown keys included; a
// revoked key is refused everywhere when that time is over; an unknown key costs what a wrong secret costs.
import { randomBytes } from "node:crypto";
import { type Clock, systemClock } from "../kernel/clock.js";
import { PetrelError } from "../kernel/errors.js";
import type { ProducerScope } from "../protocol/producer-scopes.js";
import { ExpiringCache } from "./expiring-cache.js";
import { parseProducerCredential, producerSecretMatches } from "./producer-keys.js";

/** Who sent a request. Frozen, and the same object as long as it is cached. */
export interface Producer {
  readonly keyId: string;
  /** The business system behind the key: idempotency keys are its own. */
  readonly owner: string;
  readonly scopes: readonly ProducerScope[];
}

/** What is stored of a key, as far as it is needed here. */
export interface StoredProducerKey {
  readonly id: string;
  readonly owner: string;
  readonly scopes: readonly ProducerScope[];
  /** 64 hex characters. */
  readonly secretSha256: string;
  /** When it was revoked, or undefined. */
  readonly revokedAt?: string | undefined;
}

export interface ProducerAuthenticatorOptions {
  /** Reads a key's record; rejects where the store does not answer. */
  readonly findKey: (keyId: string) => Promise<StoredProducerKey | undefined>;
  /** How long a record is believed; so long a revoked key may still pass. Default 5000. */
  readonly ttlMs?: number;
  /** Records kept, and as many names of unknown keys beside them. Default 10000. */
  readonly maxEntries?: number;
  readonly clock?: Clock;
}

interface KnownKey {
  readonly producer: Producer;
  readonly secretSha256: Buffer;
}

export class ProducerAuthenticator {
  readonly #findKey: ProducerAuthenticatorOptions["findKey"];
  readonly #clock: Clock;
  readonly #known: ExpiringCache<KnownKey>;
  // Apart from the known ones, so that a stream of invented names pushes no real key out.
  readonly #unknown: ExpiringCache<true>;
  readonly #underWay = new Map<string, Promise<KnownKey | undefined>>();
  readonly #noSecretSha256 = randomBytes(32);
  #forgotten = 0;

  constructor({
    findKey,
    ttlMs = 5_000,
    maxEntries = 10_000,
    clock = systemClock,
  }: ProducerAuthenticatorOptions) {
    this.#findKey = findKey;
    this.#clock = clock;
    this.#known = new ExpiringCache({ maxEntries, ttlMs });
    this.#unknown = new ExpiringCache({ maxEntries, ttlMs });
  }

  /**
   * @param authorization the header's value: `Bearer <key>.<secret>`
   * @throws PetrelError PETREL_UNAUTHENTICATED where it is missing, malformed, unknown, wrong or revoked;
   * PETREL_UNAVAILABLE where the key is not cached and the store does not answer
   */
  async authenticate(authorization: string | undefined): Promise<Producer> {
    if (authorization === undefined) {
      throw new PetrelError("PETREL_UNAUTHENTICATED", "Send Authorization: Bearer <key>.<secret>.");
    }
    const credential = parseProducerCredential(authorization);
    if (credential === undefined) {
      throw new PetrelError("PETREL_UNAUTHENTICATED", "The credential is not of the form <key>.<secret>.");
    }
    const nowMs = this.#clock.monotonicMs();
    const key = this.#known.get(credential.keyId, nowMs) ?? (await this.#lookUp(credential.keyId, nowMs));
    const matches = producerSecretMatches(credential.secret, key?.secretSha256 ?? this.#noSecretSha256);
    if (key === undefined || !matches) {
      throw new PetrelError(
        "PETREL_UNAUTHENTICATED",
        "The key is unknown or revoked, or its secret is wrong.",
      );
    }
    return key.producer;
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

  async #lookUp(keyId: string, nowMs: number): Promise<KnownKey | undefined> {
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
        else this.#known.set(keyId, key, nowMs);
      }
      return key;
    } finally {
      if (this.#underWay.get(keyId) === reading) this.#underWay.delete(keyId);
    }
  }

  async #read(keyId: string): Promise<KnownKey | undefined> {
    let stored: StoredProducerKey | undefined;
    try {
      stored = await this.#findKey(keyId);
    } catch (error) {
      throw new PetrelError("PETREL_UNAVAILABLE", "The producer's key cannot be checked now.", {
        cause: error,
      });
    }
    if (stored === undefined || stored.revokedAt !== undefined) return undefined;
    return Object.freeze({
      producer: Object.freeze({
        keyId: stored.id,
        owner: stored.owner,
        scopes: Object.freeze([...stored.scopes]),
      }),
      secretSha256: Buffer.from(stored.secretSha256, "hex"),
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
