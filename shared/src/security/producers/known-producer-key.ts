// A producer key's stored record -> here -> authenticate-producer, authenticate-signature: ready to check against.
// Guarantees: frozen; a former secret counts only until its end; a secret that cannot be opened leaves the rest of the
// key usable.
import { createSecretKey, type KeyObject } from "node:crypto";
import type { Clock } from "../../kernel/clock.js";
import type { ProducerScope } from "../../protocol/producer-scopes.js";
import type { SealedProducerSecret } from "./seal-producer-secret.js";

/** How much a key may send, instead of the common limit. 0: nothing at all. */
export type OwnMessageLimit = number | "unlimited";

/** Who sent a request. Frozen, and the same object as long as it is cached. */
export interface Producer {
  readonly keyId: string;
  /** The business system behind the key: it owns its idempotency keys. */
  readonly owner: string;
  readonly scopes: readonly ProducerScope[];
  readonly messagesPerSecond?: OwnMessageLimit;
}

/** The stored fields of a key that are needed here. */
export interface StoredProducerKey {
  readonly id: string;
  readonly owner: string;
  readonly scopes: readonly ProducerScope[];
  /** 64 hex characters. */
  readonly secretSha256: string;
  /** The secret itself, encrypted at rest; present if the key may sign. */
  readonly sealedSecret?: string | undefined;
  /** Its requests must be signed. */
  readonly require?: "signature" | undefined;
  readonly messagesPerSecond?: OwnMessageLimit | undefined;
  /** Secrets from before a rotation. */
  readonly former?: readonly FormerProducerSecret[] | undefined;
  /** When it was revoked, or undefined. */
  readonly revokedAt?: string | undefined;
  /** When it was suspended, or undefined. */
  readonly suspendedAt?: string | undefined;
}

export interface FormerProducerSecret {
  /** 64 hex characters. */
  readonly secretSha256: string;
  readonly sealedSecret?: string | undefined;
  /** Wall clock, ms: good until then. */
  readonly untilMs: number;
}

interface KnownSecret {
  readonly sha256: Buffer;
  /** Present if the key may sign and its secret could be opened. */
  readonly hmacKey: KeyObject | undefined;
  readonly untilMs: number;
}

/** @throws Error if it cannot be opened */
export type OpenSecret = (sealed: SealedProducerSecret) => string;

export class KnownProducerKey {
  readonly producer: Producer;
  readonly requiresSignature: boolean;
  /** Its requests are refused until it is resumed. */
  readonly isSuspended: boolean;
  /** Whether its secret is stored, so that signatures can be checked. */
  readonly maySign: boolean;
  readonly #secrets: readonly KnownSecret[];
  /** Of the current secret, made once: most keys have no other. */
  readonly #sha256: readonly Buffer[];

  /**
   * @param openSecret undefined if nothing can be opened here
   * @param onUnopened called with what could not be opened, and why
   */
  constructor(
    stored: StoredProducerKey,
    openSecret: OpenSecret | undefined,
    onUnopened: (error: unknown) => void,
  ) {
    const { id, owner, scopes, messagesPerSecond } = stored;
    this.producer = Object.freeze({
      keyId: id,
      owner,
      scopes: Object.freeze([...scopes]),
      ...(messagesPerSecond === undefined ? {} : { messagesPerSecond }),
    });
    this.isSuspended = stored.suspendedAt !== undefined;
    this.requiresSignature = stored.require === "signature";
    this.maySign = stored.sealedSecret !== undefined;
    const hmacKeyOf = (sealed: string | undefined, secretSha256: string): KeyObject | undefined => {
      if (sealed === undefined || openSecret === undefined) return undefined;
      try {
        return createSecretKey(openSecret({ keyId: id, sealed, secretSha256 }), "utf8");
      } catch (error) {
        onUnopened(error);
        return undefined;
      }
    };
    this.#secrets = [{ ...stored, untilMs: Infinity }, ...(stored.former ?? [])].map(
      ({ secretSha256, sealedSecret, untilMs }) => ({
        sha256: Buffer.from(secretSha256, "hex"),
        hmacKey: hmacKeyOf(sealedSecret, secretSha256),
        untilMs,
      }),
    );
    this.#sha256 = this.#secrets.slice(0, 1).map(({ sha256 }) => sha256);
    Object.freeze(this);
  }

  /** SHA-256 of each secret that is valid now; the clock is read only if there are former ones. */
  goodHashes(clock: Clock): readonly Buffer[] {
    if (this.#secrets.length === 1) return this.#sha256;
    return this.#good(clock.wallMs()).map(({ sha256 }) => sha256);
  }

  /** Each secret that is valid now and can be opened here, to check signatures with. */
  goodHmacKeys(wallMs: number): readonly KeyObject[] {
    return this.#good(wallMs).flatMap(({ hmacKey }) => (hmacKey === undefined ? [] : [hmacKey]));
  }

  #good(wallMs: number): readonly KnownSecret[] {
    return this.#secrets.filter(({ untilMs }) => wallMs < untilMs);
  }
}
