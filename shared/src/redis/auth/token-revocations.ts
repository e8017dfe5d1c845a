// auth's routes -> here -> auth/revoke-*.lua, auth/check-token.lua: tokens that are revoked before they expire.
// Guarantees: one step writes a revocation and tells every node. It outlives what it revokes. Revoking is idempotent.
import { type Clock, systemClock } from "../../kernel/clock.js";
import { partitionOfUser } from "../../protocol/messages/partition.js";
import { awaitAnswer } from "../connection/await-answer.js";
import { isRevokedByFormerName } from "../devices/former-token-names.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/** The parts of a token that are checked; a VerifiedToken has them. */
export interface TokenToCheck {
  readonly userId: string;
  readonly jti: string;
  readonly generation: number;
  readonly sessionId?: string;
  /** What the previous release calls a token without a `jti`. */
  readonly formerNames?: readonly string[];
}

export interface TokenToRevoke extends TokenToCheck {
  readonly expiresAtMs: number;
}

export interface TokenRevocationsOptions {
  readonly scripts: ScriptRunner;
  /** All of them, by number. */
  readonly partitions: readonly PartitionKeys[];
  /** The longest lifetime of a token by any trusted issuer. */
  readonly maxTokenLifeMs: number;
  readonly clock?: Clock;
}

const HOUR_MS = 60 * 60 * 1000;
const DAY_MS = 24 * HOUR_MS;
/** A revocation outlives its token by more than clocks can differ. */
const BEYOND_END_MS = HOUR_MS;
/**
 * How long a user's generation is kept: longer than any token or session may live (each at most 366 days), so an
 * expired one is never needed.
 */
export const GENERATION_KEEP_MS = 400 * DAY_MS;
/** A session's access tokens live for a day at most. */
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

  /**
   * @throws PetrelError PETREL_UNAVAILABLE if Redis does not answer, like all methods here; then the token's state is
   * unknown
   */
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
   * Revokes everything that the user has now: access tokens, sessions, sockets.
   * @returns the user's new generation
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

  /** A sign-out: revokes the session's refresh token and access tokens, and closes its sockets. */
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
   * Revokes one token and closes its sockets. A `jti` does not name its user, so each partition is written. If this
   * rejects, some partitions may know of it already: call it again.
   * @param expiresAtMs the token's expiry, if known: it is remembered until then, otherwise for the longest lifetime of
   * any token
   */
  async revokeToken(jti: string, expiresAtMs?: number): Promise<void> {
    const keepMs = this.keepMs(expiresAtMs);
    await awaitAnswer(Promise.all(this.#partitions.map((keys) => this.#revokeName(keys, jti, keepMs))));
  }

  /**
   * Revokes a verified token and closes its sockets; also under its former names, which the previous release may look
   * for.
   */
  async revokeVerified({ userId, jti, formerNames = [], expiresAtMs }: TokenToRevoke): Promise<void> {
    const keys = this.#keysOf(userId);
    const keepMs = this.keepMs(expiresAtMs);
    await awaitAnswer(Promise.all([jti, ...formerNames].map((name) => this.#revokeName(keys, name, keepMs))));
  }

  async #revokeName(keys: PartitionKeys, name: string, keepMs: number): Promise<void> {
    await this.#scripts.run("revoke-token.v1", [keys.revokedToken(name)], [name, keepMs, keys.control]);
  }

  /** How long a token's revocation is remembered, ms. */
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
