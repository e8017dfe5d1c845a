// dispatch/channels/wechat/access-tokens -> here -> wechat/take-wechat-token.lua, keep-, leave-, drop-wechat-token: the
// access token of each WeChat app, one for all dispatchers.
// Guarantees: one process at a time fetches; an outdated fetch changes nothing. A refused token is dropped only if it
// is still the current one. Times are Redis's own.
import { partitionOfUser } from "../../protocol/messages/partition.js";
import { awaitAnswer } from "../connection/await-answer.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/** A stored token; `text` is what was given to `keep`. */
export interface KeptToken {
  /** Identifies it without revealing anything. */
  readonly id: string;
  readonly text: string;
  readonly leftMs: number;
  /** How long until it may be refreshed. */
  readonly refreshInMs: number;
}

/** `halted`: somebody must fix something; `resting`: it may pass. */
export type RestKind = "halted" | "resting";

/** What to do; an existing token may be used in every case. */
export type TokenTurn = { readonly token: KeptToken | undefined } & (
  | { readonly state: "good" }
  /** Fetch one: nobody else does. Pass `fence` on with the result. */
  | { readonly state: "fetch"; readonly fence: string }
  /** Another process is fetching it, for at most this long. */
  | { readonly state: "wait"; readonly forMs: number }
  /** The last fetch failed: nobody tries for this long. */
  | { readonly state: "rest"; readonly forMs: number; readonly kind: RestKind; readonly reason: string }
);

export interface FetchedToken {
  readonly id: string;
  readonly text: string;
  readonly expiresInMs: number;
}

/** Longer than any token lives. */
const KEEP_MS = 6 * 60 * 60_000;
/**
 * WeChat makes a new token in the last five minutes of the old one, and accepts both meanwhile. Half a minute less, so
 * that its clock has reached them, too.
 */
const AHEAD_MS = 4.5 * 60_000;
/** If WeChat keeps handing out a token that is about to expire, do not ask again with every send. */
const LEAST_MS = 10_000;
const DOUBT_MS = 30_000;
const DOUBT_REASON = "WeChat gives out a token that it refuses";

export class AccessTokenStore {
  readonly #scripts: ScriptRunner;
  readonly #partitions: readonly PartitionKeys[];

  /** @param partitions all of them, by number */
  constructor(scripts: ScriptRunner, partitions: readonly PartitionKeys[]) {
    this.#scripts = scripts;
    this.#partitions = partitions;
  }

  /**
   * @param lockMs how long nobody else may fetch, if this caller is told to
   * @throws PetrelError PETREL_UNAVAILABLE if Redis does not answer, like all methods here
   */
  async take(appid: string, lockMs: number): Promise<TokenTurn> {
    const answer = await awaitAnswer(
      this.#scripts.run("take-wechat-token.v1", [this.#keyOf(appid)], [Math.ceil(lockMs), KEEP_MS]),
    );
    return decodeTurn(answer);
  }

  /**
   * @returns `stale`: another process is fetching by now · `doubted`: it is the one that WeChat refused a moment ago
   */
  async keep(
    appid: string,
    fence: string,
    { id, text, expiresInMs }: FetchedToken,
  ): Promise<"kept" | "doubted" | "stale"> {
    const answer = await awaitAnswer(
      this.#scripts.run(
        "keep-wechat-token.v1",
        [this.#keyOf(appid)],
        [fence, text, id, Math.floor(expiresInMs), AHEAD_MS, LEAST_MS, DOUBT_REASON, KEEP_MS],
      ),
    );
    return answer === "kept" || answer === "doubted" ? answer : "stale";
  }

  /** The fetch failed: nobody tries for this long. */
  async leave(
    appid: string,
    fence: string,
    rest: { readonly forMs: number; readonly kind: RestKind; readonly reason: string },
  ): Promise<void> {
    const reason = rest.reason.replace(/\s/g, " ").slice(0, 300);
    await awaitAnswer(
      this.#scripts.run(
        "leave-wechat-token.v1",
        [this.#keyOf(appid)],
        [fence, Math.ceil(rest.forMs), rest.kind, reason],
      ),
    );
  }

  /**
   * @param why only a refused one is doubted, if WeChat hands it out again
   * @returns whether it was the app's current token
   */
  async drop(appid: string, id: string, why: "refused" | "unreadable"): Promise<boolean> {
    const doubtMs = why === "refused" ? DOUBT_MS : 0;
    const answer = await awaitAnswer(
      this.#scripts.run("drop-wechat-token.v1", [this.#keyOf(appid)], [id, doubtMs]),
    );
    return answer === "1";
  }

  /** Spreads the apps over the partitions, like users. */
  #keyOf(appid: string): string {
    const keys = this.#partitions[partitionOfUser(appid, this.#partitions.length)];
    if (keys === undefined) throw new Error("there are no partitions");
    return keys.wechatToken(appid);
  }
}

function decodeTurn(answer: string): TokenTurn {
  const [state, number = "", kind, reason = "", leftMs, refreshInMs, id = "", text = ""] = answer.split("\t");
  const token =
    id === "" ? undefined : { id, text, leftMs: Number(leftMs), refreshInMs: Number(refreshInMs) };
  switch (state) {
    case "fetch":
      return { state, fence: number, token };
    case "wait":
      return { state, forMs: Number(number), token };
    case "rest":
      return {
        state,
        forMs: Number(number),
        kind: kind === "halted" ? "halted" : "resting",
        reason,
        token,
      };
    default:
      return { state: "good", token };
  }
}
