// send-to-openid -> here -> wechat/access-token-store, wechat-client: the access token of each WeChat app.
// Guarantees: one token per app for the whole cluster, fetched on demand and refreshed in its last minutes while the
// old one still works. One fetch at a time, in this process and in the cluster: whoever is too late waits for the
// winner's token, no longer than the winner may take. A refused token is dropped and fetched once more; none is ever
// forced. Tokens and secrets are in no log line; a stored token is encrypted if there is a key.
import { createHash } from "node:crypto";
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { pause } from "@petrel/shared/kernel/pause";
import type { AccessTokenStore, KeptToken, RestKind } from "@petrel/shared/redis/wechat/access-token-store";
import type { AtRestCipher } from "@petrel/shared/security/encrypt-at-rest";
import { judgeWechatAnswer, untilQuotaMs } from "./judge-wechat-answer.js";
import type { WechatApp } from "./wechat-apps.js";
import type { Answered, Unanswered, WechatClient } from "./wechat-client.js";

export interface AccessToken {
  readonly id: string;
  /** A secret. */
  readonly text: string;
}

export type TokenAnswer =
  | { readonly kind: "token"; readonly token: AccessToken }
  /** No token is available for a while. */
  | { readonly kind: "none"; readonly why: RestKind; readonly reason: string; readonly afterMs: number };

export interface AccessTokensOptions {
  readonly store: Pick<AccessTokenStore, "take" | "keep" | "leave" | "drop">;
  readonly client: Pick<WechatClient, "fetchToken">;
  /** If undefined, tokens are stored unencrypted. */
  readonly cipher: AtRestCipher | undefined;
  /** How long nobody else may fetch; longer than a fetch takes. */
  readonly lockMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A fetch has ended; `code` is WeChat's, or "unanswered", or 0. */
  readonly onFetch: (
    appid: string,
    outcome: "fetched" | "doubted" | "stale" | "failed",
    code: string,
  ) => void;
  /** How often a process checks whether the winner has the token, ms. */
  readonly pollMs?: number;
}

const POLL_MS = 25;
/** A token that expires on its way is refused. */
const TRAVEL_MS = 5_000;
/** While an early refresh fails, the first send after this long tries again. */
const AHEAD_AGAIN_MS = 5_000;
const [FAILED_REST_MS, HALTED_REST_MS] = [1_000, 60_000];

interface CachedToken {
  readonly token: AccessToken;
  /** Monotonic ms. */
  readonly goodUntilMs: number;
  refreshFromMs: number;
}

export class AccessTokens {
  readonly #options: AccessTokensOptions;
  readonly #cached = new Map<string, CachedToken>();
  readonly #asking = new Map<string, Promise<TokenAnswer>>();
  readonly #fetches = new Set<Promise<unknown>>();
  readonly #closing = new AbortController();

  constructor(options: AccessTokensOptions) {
    this.#options = options;
  }

  /** @throws PetrelError PETREL_UNAVAILABLE if Redis does not answer */
  current(app: WechatApp): Promise<TokenAnswer> {
    const cached = this.#cached.get(app.appid);
    const nowMs = this.#options.clock.monotonicMs();
    if (cached === undefined || cached.goodUntilMs <= nowMs) return this.#ask(app);
    if (cached.refreshFromMs <= nowMs) {
      cached.refreshFromMs = nowMs + AHEAD_AGAIN_MS;
      // The current token is used meanwhile.
      this.#ask(app).catch((error: unknown) => {
        this.#options.logger.debug({ reason: describeError(error) }, "WeChat token not refreshed yet");
      });
    }
    return Promise.resolve({ kind: "token", token: cached.token });
  }

  /** Call it when WeChat has refused the token: the next caller gets another. */
  async refuse({ appid }: WechatApp, { id }: AccessToken): Promise<void> {
    if (this.#cached.get(appid)?.token.id === id) this.#cached.delete(appid);
    if (await this.#options.store.drop(appid, id, "refused")) {
      this.#options.logger.info(
        { appid, tokenId: id },
        "WeChat refuses its access token: fetching another one",
      );
    }
  }

  /** The client ends fetches in progress. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled(this.#fetches);
  }

  #ask(app: WechatApp): Promise<TokenAnswer> {
    const { appid } = app;
    const asking = this.#asking.get(appid);
    if (asking !== undefined) return asking;
    const answer = this.#obtain(app).finally(() => this.#asking.delete(appid));
    this.#asking.set(appid, answer);
    return answer;
  }

  async #obtain(app: WechatApp): Promise<TokenAnswer> {
    const { store, lockMs, clock, pollMs = POLL_MS } = this.#options;
    // The winner may die, and its successor may take as long again.
    const untilMs = clock.monotonicMs() + 2 * lockMs;
    for (;;) {
      const turn = await store.take(app.appid, lockMs);
      const token = turn.token === undefined ? undefined : await this.#open(app, turn.token);
      if (turn.state === "fetch") {
        const fetching = this.#fetch(app, turn.fence);
        this.#track(app.appid, fetching);
        if (token !== undefined) return { kind: "token", token };
        const answer = await fetching;
        if (answer !== "look again") return answer;
      } else if (token !== undefined) {
        return { kind: "token", token };
      } else if (turn.state === "rest") {
        return { kind: "none", why: turn.kind, reason: turn.reason, afterMs: turn.forMs };
      } else {
        await pause(turn.state === "wait" ? Math.min(turn.forMs + 1, pollMs) : pollMs, this.#closing.signal);
      }
      if (clock.monotonicMs() >= untilMs || this.#closing.signal.aborted) {
        return { kind: "none", why: "resting", reason: "no access token in time", afterMs: 0 };
      }
    }
  }

  /** Keeps track of an early refresh, which continues when nobody waits for it. */
  #track(appid: string, fetching: Promise<unknown>): void {
    const tracked = fetching
      .catch((error: unknown) => {
        this.#options.logger.debug({ appid, reason: describeError(error) }, "WeChat token not stored");
      })
      .finally(() => this.#fetches.delete(tracked));
    this.#fetches.add(tracked);
  }

  /** @returns undefined if it cannot be used; one that was sealed with a lost key is dropped */
  async #open({ appid }: WechatApp, kept: KeptToken): Promise<AccessToken | undefined> {
    if (kept.leftMs <= TRAVEL_MS) return undefined;
    let text: string;
    try {
      text = this.#unseal(appid, kept.text);
    } catch (error) {
      this.#options.logger.warn({ appid, reason: describeError(error) }, "WeChat token cannot be decrypted");
      await this.#options.store.drop(appid, kept.id, "unreadable");
      return undefined;
    }
    const token = { id: kept.id, text };
    const nowMs = this.#options.clock.monotonicMs();
    this.#cached.set(appid, {
      token,
      goodUntilMs: nowMs + kept.leftMs - TRAVEL_MS,
      refreshFromMs: nowMs + (kept.refreshInMs > 0 ? kept.refreshInMs : AHEAD_AGAIN_MS),
    });
    return token;
  }

  async #fetch(app: WechatApp, fence: string): Promise<TokenAnswer | "look again"> {
    const { store, client, onFetch, logger } = this.#options;
    const { appid } = app;
    const fetched = await client.fetchToken(app);
    if (fetched.kind !== "granted") {
      const rest = this.#restAfter(fetched);
      onFetch(appid, "failed", fetched.kind === "answered" ? String(fetched.errcode) : "unanswered");
      logger.warn({ appid, reason: rest.reason, restMs: rest.forMs }, "no access token from WeChat");
      await store.leave(appid, fence, rest);
      return { kind: "none", why: rest.kind, reason: rest.reason, afterMs: rest.forMs };
    }
    const { token: text, expiresInMs } = fetched;
    const id = createHash("sha256").update(`${appid}\n${text}`).digest("base64url").slice(0, 16);
    const kept = await store.keep(appid, fence, { id, text: this.#seal(appid, text), expiresInMs });
    onFetch(appid, kept === "kept" ? "fetched" : kept, "0");
    if (kept === "kept") logger.info({ appid, tokenId: id, expiresInMs }, "WeChat token fetched");
    return "look again";
  }

  #restAfter(failure: Answered | Unanswered): {
    readonly forMs: number;
    readonly kind: RestKind;
    readonly reason: string;
  } {
    if (failure.kind === "unanswered") return { forMs: FAILED_REST_MS, kind: "resting", reason: failure.why };
    const verdict = judgeWechatAnswer(failure, false);
    switch (verdict.kind) {
      case "rest":
        return {
          forMs: untilQuotaMs(verdict.until, this.#options.clock.wallMs()),
          kind: "resting",
          reason: verdict.reason,
        };
      case "retry":
        return { forMs: FAILED_REST_MS, kind: "resting", reason: verdict.reason };
      case "renew-token":
        // WeChat uses the same code for something else here.
        return {
          forMs: HALTED_REST_MS,
          kind: "halted",
          reason: `${failure.errcode}: the secret is wrong (${failure.errmsg.replace(/\s*rid:.*/, "")})`,
        };
      default:
        return {
          forMs: HALTED_REST_MS,
          kind: "halted",
          reason: "reason" in verdict ? verdict.reason : "WeChat gives no token",
        };
    }
  }

  #seal(appid: string, token: string): string {
    const { cipher } = this.#options;
    return cipher === undefined ? `plain:${token}` : `sealed:${cipher.encrypt(token, contextOf(appid))}`;
  }

  #unseal(appid: string, text: string): string {
    const [form, kept] = [text.slice(0, text.indexOf(":")), text.slice(text.indexOf(":") + 1)];
    if (form === "plain") return kept;
    const { cipher } = this.#options;
    if (form !== "sealed" || cipher === undefined) throw new Error("there is no key for it here");
    return cipher.decrypt(kept, contextOf(appid));
  }
}

function contextOf(appid: string): string {
  return `wechat-token:${appid}`;
}
