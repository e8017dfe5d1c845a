// How often all tokens of a user were revoked: a token of an earlier generation is no longer good.
// Guarantees: a generation only grows; a user who was never revoked has generation 0 and takes no room.
import { partitionOfUser } from "../protocol/partition.js";
import { tokenGenerationKey } from "./auth-keys.js";
import { awaitAnswer } from "./await-answer.js";
import type { Redis } from "./connect.js";

export class TokenGenerationStore {
  readonly #redis: Redis;
  readonly #partitionCount: number;

  constructor(redis: Redis, partitionCount: number) {
    this.#redis = redis;
    this.#partitionCount = partitionCount;
  }

  /** @throws PetrelError PETREL_UNAVAILABLE where Redis does not answer, as all here */
  async read(userId: string): Promise<number> {
    const text = await awaitAnswer(this.#redis.get(this.#key(userId)));
    return text === null ? 0 : Number(text);
  }

  /** Revokes all tokens made so far. */
  async increment(userId: string): Promise<number> {
    return awaitAnswer(this.#redis.incr(this.#key(userId)));
  }

  #key(userId: string): string {
    return tokenGenerationKey(partitionOfUser(userId, this.#partitionCount), userId);
  }
}
