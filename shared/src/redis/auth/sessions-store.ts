// auth/create-token, auth/refresh-token -> here -> auth/open-session.lua, refresh-session: who is signed in, and with
// which refresh token.
// Guarantees: a refresh token is stored only as a hash. Using one twice is detected and ends its session in the same
// step. See docs/receive/tokens.md.
import { partitionOfUser } from "../../protocol/messages/partition.js";
import type { TopicGrant } from "../../protocol/topics/topic-grants.js";
import { awaitAnswer } from "../connection/await-answer.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import { SESSION_REVOCATION_KEEP_MS } from "./token-revocations.js";

/** What goes into each access token of a session. */
export interface SessionContent {
  readonly ttlSeconds: number;
  readonly device?: { readonly id: string; readonly platform: string };
  /** Absent in sessions from releases without topics. */
  readonly topics?: readonly TopicGrant[];
}

export interface SessionToOpen {
  readonly userId: string;
  readonly sessionId: string;
  /** The hash of its first refresh token: SHA-256 in base64url, like all hashes here. */
  readonly hash: string;
  readonly content: SessionContent;
}

export interface PresentedToken {
  readonly userId: string;
  readonly sessionId: string;
  /** 0 for a session's first token. */
  readonly number: number;
  readonly hash: string;
  /**
   * The hash of the successor, which is derived from this token: first with the first encryption key, then with each
   * other one.
   */
  readonly successorHashes: readonly [string, ...string[]];
}

export type RefreshResult =
  /** `again`: the same token was used just before. */
  | {
      readonly outcome: "rotated" | "again";
      readonly generation: number;
      /** The index of the successor that applies. */
      readonly successor: number;
      readonly content: SessionContent;
    }
  /** A spent token was presented again and ended the session; `isFirst` if that happened just now. */
  | { readonly outcome: "reused"; readonly isFirst: boolean }
  /** `over`: unknown, too old, or displaced by newer sessions. */
  | { readonly outcome: "revoked" | "over" };

export interface SessionsStoreOptions {
  readonly scripts: ScriptRunner;
  /** All of them, by number. */
  readonly partitions: readonly PartitionKeys[];
  /** How long a spent token still gets its successor. */
  readonly leewayMs: number;
  /** How long a session lives without being refreshed. */
  readonly idleMs: number;
  /** How long it lives in total. */
  readonly absoluteMs: number;
  readonly maxPerUser: number;
}

export class SessionsStore {
  readonly #options: SessionsStoreOptions;

  constructor(options: SessionsStoreOptions) {
    this.#options = options;
  }

  /**
   * @param session with an id that is not in use
   * @returns the user's token generation at this moment
   * @throws PetrelError PETREL_UNAVAILABLE if Redis does not answer, like all methods here
   */
  async open({ userId, sessionId, hash, content }: SessionToOpen): Promise<number> {
    const { scripts, idleMs, absoluteMs, maxPerUser } = this.#options;
    const keys = this.#keysOf(userId);
    const generation = await awaitAnswer(
      scripts.run(
        "open-session.v1",
        [keys.sessions(userId), keys.tokenGeneration(userId)],
        [sessionId, hash, JSON.stringify(content), idleMs, absoluteMs, maxPerUser],
      ),
    );
    return Number(generation);
  }

  /**
   * If the answer is lost, the same token gets the same successor again within the leeway.
   * @param token its seal must have been verified: otherwise anybody could end a session
   */
  async refresh(token: PresentedToken): Promise<RefreshResult> {
    const { scripts, leewayMs, idleMs, absoluteMs } = this.#options;
    const { userId, sessionId, number, hash } = token;
    const [successorHash, ...furtherHashes] = token.successorHashes;
    const keys = this.#keysOf(userId);
    const answer = await awaitAnswer(
      scripts.run(
        "refresh-session.v2",
        [keys.sessions(userId), keys.tokenGeneration(userId), keys.revokedSession(userId, sessionId)],
        [
          userId,
          sessionId,
          number,
          hash,
          successorHash,
          leewayMs,
          idleMs,
          absoluteMs,
          SESSION_REVOCATION_KEEP_MS,
          keys.control,
          ...furtherHashes,
        ],
      ),
    );
    const [outcome = "", generation = "", which = "", content = ""] = answer.split("\t");
    switch (outcome) {
      case "rotated":
      case "again":
        return {
          outcome,
          generation: Number(generation),
          successor: Number(which) - 1,
          content: JSON.parse(content) as SessionContent,
        };
      case "reused":
      case "reused-before":
        return { outcome: "reused", isFirst: outcome === "reused" };
      case "revoked":
        return { outcome };
      default:
        return { outcome: "over" };
    }
  }

  #keysOf(userId: string): PartitionKeys {
    const { partitions } = this.#options;
    const keys = partitions[partitionOfUser(userId, partitions.length)];
    if (keys === undefined) throw new Error("there are no partitions");
    return keys;
  }
}
