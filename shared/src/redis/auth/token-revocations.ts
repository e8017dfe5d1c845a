// auth's routes -> here -> auth/revoke-*.lua, auth/check-token.lua: which tokens are good no longer, though their time is not over.
// Guarantees: written and told to every node in one step; a revocation outlives what it revokes; to revoke again does no
// harm.
import { type Clock, systemClock } from "../../kernel/clock.js";
import { partitionOfUser } from "../../protocol/messages/partition.js";
import { awaitAnswer } from "../connection/await-answer.js";
import { isRevokedByFormerName } from "../devices/former-token-names.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/** What is looked at of a token; a VerifiedToken has it. */
export interface TokenToCheck {
  readonly userId: string;
  readonly jti: string;
  readonly generation: number;
  readonly sessionId?: string;
  /** What the release before calls a token without a `jti`. */
  readonly formerNames?: readonly string[];
}

export interface TokenToRevoke extends TokenToCheck {
  readonly expiresAtMs: number;
}

export interface TokenRevocationsOptions {
  readonly scripts: ScriptRunner;
  /** All of them, by number. */
  readonly partitions: readonly PartitionKeys[];
  /** For how long a token may be good, of whichever issuer that is trusted here. */
  readonly maxTokenLifeMs: number;
  readonly clock?: Clock;
}

const HOUR_MS = 60 * 60 * 1000;
const DAY_MS = 24 * HOUR_MS;
/** A revocation outlives its token by more than any clocks differ. */
const BEYOND_END_MS = HOUR_MS;
/**
 * Of a user's generation: longer than any token or session may live (each at most 366 days), so that what has ended by
 * itself is needed by nobody.
 */
export const GENERATION_KEEP_MS = 400 * DAY_MS;
/** Access tokens of a session live a day at most. */
export const SESSION_REVOCATION_KEEP_MS = DAY_MS + HOUR_MS;

export class TokenRevocations {
  readonly #scripts: ScriptRunner;
  readonly #partitions: readonly PartitionKeys[];
  readonly #tokenKeepMs: number;
  readonly #clock: Clock;

  constructor({ scripts, partitions, maxTokenLifeMs, clock = systemClock }: TokenRevocationsOptions) {
    this.#scripts = scripts;
    this.#partitions = partitions;
    this.#tokenKeepMs = maxTokenLifeMs + BEYOND_END_MS;
    this.#clock = clock;
  }

  /** @throws PetrelError PETREL_UNAVAILABLE where Redis does not answer, as all here: then it is known of no token */
  async isRevoked(token: TokenToCheck): Promise<boolean> {
    const { userId, jti, generation, sessionId = "" } = token;
    const keys = this.#keysOf(userId);
    const names = [
      keys.tokenGeneration(userId),
      keys.revokedSession(userId, sessionId),
      keys.revokedToken(jti),
    ];
    const [answer, formerly] = await awaitAnswer(
      Promise.all([
        this.#scripts.run("check-token.v1", names, [generation]),
        isRevokedByFormerName(this.#scripts, keys, token),
      ]),
    );
    return answer !== "good" || formerly;
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

  /**
   * One token and its sockets, whoever's it is: written in each partition. Where this rejects, some may know of it; to be
   * called again.
   * @param expiresAtMs of the token, where that is known: then it is remembered until then, not for the longest life of all
   */
  async revokeToken(jti: string, expiresAtMs?: number): Promise<void> {
    const keepMs = this.keepMs(expiresAtMs);
    await awaitAnswer(Promise.all(this.#partitions.map((keys) => this.#revokeName(keys, jti, keepMs))));
  }

  /** One token that was verified, and its sockets: by the names of the release before too, which may still look for it. */
  async revokeVerified({ userId, jti, formerNames = [], expiresAtMs }: TokenToRevoke): Promise<void> {
    const keys = this.#keysOf(userId);
    const keepMs = this.keepMs(expiresAtMs);
    await awaitAnswer(Promise.all([jti, ...formerNames].map((name) => this.#revokeName(keys, name, keepMs))));
  }

  async #revokeName(keys: PartitionKeys, name: string, keepMs: number): Promise<void> {
    await this.#scripts.run("revoke-token.v1", [keys.revokedToken(name)], [name, keepMs, keys.control]);
  }

  /** For how long a token's revocation is remembered, ms. */
  keepMs(expiresAtMs: number | undefined): number {
    if (expiresAtMs === undefined) return this.#tokenKeepMs;
    const leftMs = Math.max(0, Math.ceil(expiresAtMs - this.#clock.wallMs()));
    return Math.min(leftMs + BEYOND_END_MS, this.#tokenKeepMs);
  }

  #keysOf(userId: string): PartitionKeys {
    const keys = this.#partitions[partitionOfUser(userId, this.#partitions.length)];
    if (keys === undefined) throw new Error("there are no partitions");
    return keys;
  }
}
