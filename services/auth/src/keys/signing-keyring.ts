// The signing keys of this auth process: the one that signs, and those that tokens in use were signed with.
// Guarantees: all auth processes of a cluster sign with the same key, even when they start together, one dies during a
// rotation, or Redis loses its data; private keys leave this process only sealed.
import { type Clock, systemClock } from "@petrel/shared/kernel/clock";
import { describeError, PetrelError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { SigningKeyRecord, SigningKeysStore } from "@petrel/shared/redis/auth/signing-keys-store";
import type { AtRestCipher } from "@petrel/shared/security/encrypt-at-rest";
import type { PublicJwk } from "@petrel/shared/security/tokens/public-jwk";
import type { SigningKey } from "@petrel/shared/security/tokens/sign-token";
import type { TokenAlgorithm } from "@petrel/shared/security/tokens/token-algorithm";
import type { VerificationKey } from "@petrel/shared/security/tokens/verify-token";
import { makeSigningKey, type OpenKey, openSigningKey, resealSigningKey } from "./make-signing-key.js";
import {
  addUpcomingKey,
  advanceKeySet,
  joinKeySets,
  type KeySet,
  keyThatIsMissing,
  replaceAllKeys,
  type SigningKeyTimes,
} from "./signing-key-set.js";

export interface SigningKeyringOptions {
  readonly store: SigningKeysStore;
  readonly cipher: AtRestCipher;
  readonly logger: Logger;
  /** The algorithm of new keys. */
  readonly algorithm: TokenAlgorithm;
  readonly times: SigningKeyTimes;
  /** Called when a key changed state on schedule and this process wrote the change. */
  readonly onTransition?: (key: SigningKeyRecord) => void;
  readonly clock?: Clock;
}

type Change = (keys: KeySet, nowMs: number) => KeySet;

/** An attempt fails only if another process's change succeeded meanwhile. */
const MAX_ATTEMPTS = 20;
/** Every consumer of a JWK set accepts at least this many. */
const MAX_PUBLISHED = 16;
/** The shortest time between two reads of Redis because of an unknown `kid`. */
const COOLDOWN_MS = 1_000;

export class SigningKeyring {
  readonly #options: SigningKeyringOptions;
  readonly #clock: Clock;
  readonly #open = new Map<string, OpenKey>();
  #keys: KeySet = [];
  #active: OpenKey | undefined;
  #triedAtMs = Number.NEGATIVE_INFINITY;
  #lastFailure: unknown = undefined;
  #underWay: Promise<void> | undefined;
  /** Serialises changes, so that none works on an outdated read. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(options: SigningKeyringOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /**
   * Reads the cluster's keys, and makes the first one if there is none.
   * @throws Error if a stored key cannot be opened; PetrelError PETREL_UNAVAILABLE if Redis does not answer
   */
  static async open(options: SigningKeyringOptions): Promise<SigningKeyring> {
    const ring = new SigningKeyring(options);
    await ring.#change(undefined);
    const { kid, alg } = ring.active;
    options.logger.info({ kid, alg, keys: ring.#keys.length }, "signing keys are open");
    return ring;
  }

  /** The key that new tokens are signed with. */
  get active(): SigningKey {
    if (this.#active === undefined) throw new Error("no signing key is active");
    return this.#active.signing;
  }

  /** The public parts of all keys whose tokens are valid, or will be. */
  get publicJwks(): readonly PublicJwk[] {
    return this.#keys.flatMap(({ kid }) => this.#open.get(kid)?.publicJwk ?? []);
  }

  /**
   * Bound, for createVerifyToken. Another process may have just made an unknown key, so ask Redis.
   * @throws PetrelError PETREL_UNAVAILABLE if the key is unknown and Redis does not answer
   */
  readonly findKey = async (kid: string): Promise<VerificationKey | undefined> => {
    const known = this.#open.get(kid);
    if (known !== undefined) return known.verification;
    if (this.#underWay !== undefined || this.#clock.monotonicMs() - this.#triedAtMs >= COOLDOWN_MS) {
      await this.refresh();
    }
    const found = this.#open.get(kid)?.verification;
    if (found === undefined && this.#lastFailure !== undefined) {
      throw new PetrelError(
        "PETREL_UNAVAILABLE",
        "The token cannot be checked now because Redis does not answer.",
        {
          cause: this.#lastFailure,
        },
      );
    }
    return found;
  };

  /**
   * Synchronises with the other processes: restores our keys if Redis has lost them, takes over theirs, applies what is
   * due. Never rejects: a failure is logged, and the keys stay.
   */
  refresh(): Promise<void> {
    this.#underWay ??= this.#refresh().finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }

  async #refresh(): Promise<void> {
    const { logger } = this.#options;
    this.#triedAtMs = this.#clock.monotonicMs();
    try {
      await this.#change(undefined);
      this.#lastFailure = undefined;
    } catch (error) {
      this.#lastFailure = error;
      logger.warn({ reason: describeError(error) }, "signing keys not refreshed: keeping the current ones");
    }
  }

  /** As of the last synchronisation; withdrawn keys have no private part. */
  get records(): KeySet {
    return this.#keys;
  }

  /** The keys as of now, synchronised with the other processes. */
  async list(): Promise<KeySet> {
    await this.#change(undefined);
    return this.#keys;
  }

  /**
   * Publishes the next key, which signs after the lead; another call before that returns the same key. `immediately` is
   * for a compromised key: the new key signs at once, and tokens signed by any other become invalid.
   * @returns the next key
   * @throws PetrelError PETREL_CONFLICT if too many keys have tokens that may still be valid
   */
  async rotate({ immediately }: { readonly immediately: boolean }): Promise<SigningKeyRecord> {
    const { cipher, algorithm } = this.#options;
    const made = await makeSigningKey(algorithm, cipher, 0);
    const next = await this.#change((keys, nowMs) => {
      const key = { ...made, createdAtMs: nowMs };
      if (immediately) return replaceAllKeys(keys, key, nowMs);
      if (keys.filter(({ state }) => state !== "withdrawn").length >= MAX_PUBLISHED) {
        throw new PetrelError(
          "PETREL_CONFLICT",
          `There are ${MAX_PUBLISHED} signing keys with tokens that may still be valid: wait until one of them ends.`,
        );
      }
      return addUpcomingKey(keys, key);
    });
    const found = next.find(({ state }) => state === (immediately ? "active" : "upcoming"));
    if (found === undefined) throw new Error("the new signing key is already gone");
    return found;
  }

  /** Atomic: if the process dies first, nothing has changed, and the next process applies what is due. */
  #change(change: Change | undefined): Promise<KeySet> {
    const mine = this.#turn.then(() => this.#agree(change));
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  async #agree(change: Change | undefined): Promise<KeySet> {
    const { store, times } = this.#options;
    let agreed = await store.read();
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const { nowMs } = agreed;
      // Merge in what we know: Redis may have lost what was agreed on.
      const due = advanceKeySet(joinKeySets(agreed.keys, this.#keys), nowMs, times);
      const settled = this.#sealedAnew(await this.#withMissingKey(due, nowMs));
      const wanted = change === undefined ? settled : change(settled, nowMs);
      const text = JSON.stringify(wanted);
      if (text === JSON.stringify(agreed.keys)) {
        this.#adopt(wanted);
        return wanted;
      }
      const before = agreed.keys;
      agreed = await store.replace(agreed.revision, wanted);
      if (!agreed.isTaken) continue;
      this.#adopt(wanted);
      this.#tell(before, settled);
      return wanted;
    }
    throw new PetrelError(
      "PETREL_UNAVAILABLE",
      "Too many requests are changing the signing keys at the same time.",
    );
  }

  async #withMissingKey(keys: KeySet, nowMs: number): Promise<KeySet> {
    const { cipher, algorithm, times } = this.#options;
    const missing = keyThatIsMissing(keys, nowMs, times);
    if (missing === undefined) return keys;
    const made = await makeSigningKey(algorithm, cipher, nowMs);
    return missing === "upcoming"
      ? addUpcomingKey(keys, made)
      : // No key signs yet, so nobody depends on the lead.
        joinKeySets(keys, [{ ...made, state: "active", activatedAtMs: nowMs }]);
  }

  /** Reseals with the first encryption key what another of our keys has sealed, while that one is still available. */
  #sealedAnew(keys: KeySet): KeySet {
    const { cipher } = this.#options;
    return keys.map((key) =>
      key.state !== "withdrawn" && cipher.sealedBy(key.sealedPrivateKey) === "further"
        ? resealSigningKey(key, cipher)
        : key,
    );
  }

  #adopt(keys: KeySet): void {
    const { cipher, logger } = this.#options;
    const published = keys.filter(({ state }) => state !== "withdrawn");
    // Open all of them before taking over any.
    const opened = new Map(
      published.map((key) => [key.kid, this.#open.get(key.kid) ?? openSigningKey(key, cipher)]),
    );
    const active = published.find(({ state }) => state === "active");
    const next = active === undefined ? undefined : opened.get(active.kid);
    if (next === undefined) throw new Error("no signing key is active");
    for (const kid of this.#open.keys()) if (!opened.has(kid)) this.#open.delete(kid);
    for (const [kid, key] of opened) this.#open.set(kid, key);
    const former = this.#active?.signing.kid;
    this.#active = next;
    this.#keys = keys;
    if (former !== undefined && former !== next.signing.kid)
      logger.info({ kid: next.signing.kid, former }, "another signing key is now active");
  }

  #tell(before: KeySet, after: KeySet): void {
    const { onTransition } = this.#options;
    if (onTransition === undefined) return;
    const states = new Map(before.map(({ kid, state }) => [kid, state]));
    for (const key of after) if (states.get(key.kid) !== key.state) onTransition(key);
  }
}
