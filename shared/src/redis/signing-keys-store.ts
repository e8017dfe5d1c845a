// The key that signs users' tokens, shared by all auth processes.
// Guarantees: of several that bring a first key at once, all get the same one; the private part comes here sealed.
import { authKeys } from "./auth-keys.js";
import { awaitAnswer } from "./await-answer.js";
import type { Redis } from "./connect.js";

/** As stored. `publicJwk` has no private member; `sealedPrivateKey` is a PKCS #8 PEM, encrypted at rest. */
export interface SigningKeyRecord {
  readonly kid: string;
  readonly alg: "ES256" | "RS256";
  readonly state: "active";
  readonly publicJwk: Readonly<Record<string, string>>;
  readonly sealedPrivateKey: string;
  /** RFC 3339, UTC. */
  readonly createdAt: string;
}

export class SigningKeysStore {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** @throws PetrelError PETREL_UNAVAILABLE where Redis does not answer, as all here */
  async readActive(): Promise<SigningKeyRecord | undefined> {
    const text = await awaitAnswer(this.#redis.get(authKeys.activeSigningKey));
    return text === null ? undefined : (JSON.parse(text) as SigningKeyRecord);
  }

  /** Stores the candidate where there is no active key; answers with the one that is active now. */
  async agreeOnActive(candidate: SigningKeyRecord): Promise<SigningKeyRecord> {
    // NX with GET (Redis 7.0): one step tells whether ours was taken, and if not, which was.
    const earlier = await awaitAnswer(
      this.#redis.set(authKeys.activeSigningKey, JSON.stringify(candidate), "NX", "GET"),
    );
    return earlier === null ? candidate : (JSON.parse(earlier) as SigningKeyRecord);
  }
}
