// auth's routes -> here -> scripts/revoke-*, check-token: which tokens are good no longer, though their time is not over.
// Guarantees: written and told to every node in one step; a revocation outlives what it revokes; to revoke again does no
// harm.
import { partitionOfUser } from "../protocol/partition.js";
import { awaitAnswer } from "./await-answer.js";
import type { PartitionKeys } from "./keys.js";
import type { ScriptRunner } from "./script-runner.js";

/** What is looked at of a token; a VerifiedToken has it. */
export interface TokenToCheck {
  readonly userId: string;
  readonly jti: string;
  readonly generation: number;
  readonly sessionId?: string;
}

export interface TokenRevocationsOptions {
  readonly scripts: ScriptRunner;
  /** All of them, by number. */
  readonly partitions: readonly PartitionKeys[];
  /** For how long a token may be good, of whichever issuer that is trusted here. */
  readonly maxTokenLifeMs: number;
}

const DAY_MS = 24 * 60 * 60 * 1000;
/**
 * Of a user's generation: longer than any token or session may live (each at most 366 days), so that what has ended by
 * itself is needed by nobody.
 */
export const GENERATION_KEEP_MS = 400 * DAY_MS;
/** Access tokens of a session live a day at most. */
export const SESSION_REVOCATION_KEEP_MS = DAY_MS + 60 * 60 * 1000;

export class TokenRevocations {
  readonly #scripts: ScriptRunner;
  readonly #partitions: readonly PartitionKeys[];
  readonly #tokenKeepMs: number;

  constructor({ scripts, partitions, maxTokenLifeMs }: TokenRevocationsOptions) {
    this.#scripts = scripts;
    this.#partitions = partitions;
    this.#tokenKeepMs = maxTokenLifeMs + 60 * 60 * 1000;
  }

  /** @throws PetrelError PETREL_UNAVAILABLE where Redis does not answer, as all here: then it is known of no token */
  async isRevoked({ userId, jti, generation, sessionId = "" }: TokenToCheck): Promise<boolean> {
    const keys = this.#keysOf(userId);
    const names = [
      keys.tokenGeneration(userId),
      keys.revokedSession(userId, sessionId),
      keys.revokedToken(jti),
    ];
    const answer = await awaitAnswer(this.#scripts.run("check-token.v1", names, [generation]));
    return answer !== "good";
  }

  /**
   * Everything of the user so far: access tokens, sessions, sockets.
   * @returns the user's generation from now on
   */
  async revokeUser(userId: string): Promise<number> {
    const keys = this.#keysOf(userId);
    const generation = await awaitAnswer(
      this.#scripts.run(
        "revoke-user.v1",
        [keys.tokenGeneration(userId)],
        [userId, GENERATION_KEEP_MS, keys.control],
      ),
    );
    return Number(generation);
  }

  /** A sign-out: the session's refresh token, its access tokens, its sockets. */
  async revokeSession(userId: string, sessionId: string): Promise<void> {
    const keys = this.#keysOf(userId);
    await awaitAnswer(
      this.#scripts.run(
        "revoke-session.v1",
        [keys.sessions(userId), keys.revokedSession(userId, sessionId)],
        [userId, sessionId, SESSION_REVOCATION_KEEP_MS, keys.control],
      ),
    );
  }

  /** One token and its sockets. Where this rejects, some partitions may know of it; to be called again. */
  async revokeToken(jti: string): Promise<void> {
    await awaitAnswer(
      Promise.all(
        this.#partitions.map((keys) =>
          this.#scripts.run(
            "revoke-token.v1",
            [keys.revokedToken(jti)],
            [jti, this.#tokenKeepMs, keys.control],
          ),
        ),
      ),
    );
  }

  #keysOf(userId: string): PartitionKeys {
    const keys = this.#partitions[partitionOfUser(userId, this.#partitions.length)];
    if (keys === undefined) throw new Error("there are no partitions");
    return keys;
  }
}
