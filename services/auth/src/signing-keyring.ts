// The keys of this auth process: one that signs, and all that tokens still in use may have been signed with.
// Guarantees: all auth processes of a cluster sign with the same key, also when they start at once or Redis lost its
// data; private parts leave this process only sealed.
import { createPrivateKey, createPublicKey, generateKeyPair } from "node:crypto";
import { promisify } from "node:util";
import { type Clock, systemClock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging";
import type { SigningKeyRecord, SigningKeysStore } from "@petrel/shared/redis/signing-keys-store";
import type { AtRestCipher } from "@petrel/shared/security/encrypt-at-rest";
import { type PublicJwk, toPublicJwk } from "@petrel/shared/security/public-jwk";
import type { SigningKey } from "@petrel/shared/security/sign-token";
import type { VerificationKey } from "@petrel/shared/security/verify-token";

export interface SigningKeyringOptions {
  readonly store: SigningKeysStore;
  readonly cipher: AtRestCipher;
  readonly logger: Logger;
  readonly clock?: Clock;
}

interface OpenKey {
  readonly record: SigningKeyRecord;
  readonly signing: SigningKey;
  readonly verification: VerificationKey;
  readonly publicJwk: PublicJwk;
}

/** Former keys that are still published; the active one can only change by a loss of data. */
const MAX_KEYS = 8;

export class SigningKeyring {
  readonly #options: SigningKeyringOptions;
  readonly #keys = new Map<string, OpenKey>();
  #active: OpenKey;

  private constructor(options: SigningKeyringOptions, active: OpenKey) {
    this.#options = options;
    this.#active = active;
    this.#keys.set(active.record.kid, active);
  }

  /**
   * Takes the cluster's key; makes the first one where there is none.
   * @throws Error where the stored key cannot be opened; PetrelError PETREL_UNAVAILABLE where Redis does not answer
   */
  static async open(options: SigningKeyringOptions): Promise<SigningKeyring> {
    const { store, cipher, logger, clock = systemClock } = options;
    const stored = await store.readActive();
    const record = stored ?? (await store.agreeOnActive(await makeRecord(cipher, clock)));
    logger.info({ kid: record.kid, alg: record.alg, createdAt: record.createdAt }, "signing key is open");
    return new SigningKeyring(options, openRecord(record, cipher));
  }

  /** The key that new tokens are signed with. */
  get active(): SigningKey {
    return this.#active.signing;
  }

  get publicJwks(): readonly PublicJwk[] {
    return [...this.#keys.values()].map(({ publicJwk }) => publicJwk);
  }

  /** Bound, to be handed to createVerifyToken. */
  readonly findKey = (kid: string): Promise<VerificationKey | undefined> =>
    Promise.resolve(this.#keys.get(kid)?.verification);

  /**
   * Agrees anew with the other processes: gives Redis our key where it has lost it, takes over theirs where it has
   * another. Never rejects: a failure is logged, and the keys stay.
   */
  async refresh(): Promise<void> {
    const { store, cipher, logger } = this.#options;
    try {
      const agreed = await store.agreeOnActive(this.#active.record);
      if (agreed.kid === this.#active.record.kid) return;
      this.#active = this.#keys.get(agreed.kid) ?? openRecord(agreed, cipher);
      this.#keys.set(agreed.kid, this.#active);
      const oldest = this.#keys.keys().next().value;
      if (this.#keys.size > MAX_KEYS && oldest !== undefined && oldest !== agreed.kid)
        this.#keys.delete(oldest);
      logger.warn({ kid: agreed.kid }, "another signing key is active now: taken over");
    } catch (error) {
      logger.warn({ reason: describeError(error) }, "signing key not refreshed, keeping the one at hand");
    }
  }
}

async function makeRecord(cipher: AtRestCipher, clock: Clock): Promise<SigningKeyRecord> {
  const { publicKey, privateKey } = await promisify(generateKeyPair)("ec", { namedCurve: "P-256" });
  const publicJwk = toPublicJwk(publicKey);
  const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  return {
    kid: publicJwk.kid,
    alg: publicJwk.alg,
    state: "active",
    publicJwk: { ...publicJwk },
    sealedPrivateKey: cipher.encrypt(pem, sealContext(publicJwk.kid)),
    createdAt: new Date(clock.wallMs()).toISOString(),
  };
}

function openRecord(record: SigningKeyRecord, cipher: AtRestCipher): OpenKey {
  let pem: string;
  try {
    pem = cipher.decrypt(record.sealedPrivateKey, sealContext(record.kid));
  } catch (error) {
    throw new Error(
      `the signing key in Redis cannot be opened with the key of KEY_ENCRYPTION_FILE: ${describeError(error)}`,
      { cause: error },
    );
  }
  const privateKey = createPrivateKey(pem);
  // Derived from the private part, so that what is published always fits what signs.
  const publicKey = createPublicKey(privateKey);
  const publicJwk = toPublicJwk(publicKey);
  const { kid, alg } = publicJwk;
  if (kid !== record.kid) throw new Error(`the signing key ${record.kid} in Redis is not what its name says`);
  return {
    record,
    signing: { kid, alg, privateKey },
    verification: { kid, alg, publicKey },
    publicJwk,
  };
}

function sealContext(kid: string): string {
  return `signing-key:${kid}`;
}
