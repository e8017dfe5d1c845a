// The WeChat simulator: access tokens.
// Guarantees: exactly what WeChat documents for its two interfaces. The tokens of the two are independent; within one
// interface, earlier tokens stay valid as long as its page says.
// - stable: https://developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken.html. The same token while
// it is
// valid for more than five minutes; then a new one, and the old one stays valid for five more minutes. Forced: a new
// one,
// and the old one ends at once; 20 a day; within 30 seconds nothing is refreshed.
// - legacy: https://developers.weixin.qq.com/doc/service/api/base/api_getaccesstoken.html. Each call makes a new one;
// the
// previous one stays valid for five more minutes, any older one not at all.
import { randomBytes } from "node:crypto";

export interface IssuedToken {
  readonly appid: string;
  readonly token: string;
  readonly interface: "stable" | "legacy";
  readonly issuedAtMs: number;
  /** Moves to an earlier time when it is replaced or revoked. */
  expiresAtMs: number;
  isRevoked: boolean;
  /** How often it was handed out. */
  fetches: number;
}

const EXPIRES_MS = 7_200_000;
const HAND_OVER_MS = 5 * 60_000;
const FORCE_EVERY_MS = 30_000;
const MAX_KEPT = 10_000;

export class IssuedTokens {
  readonly #all: IssuedToken[] = [];
  readonly #byText = new Map<string, IssuedToken>();
  readonly #current = new Map<string, IssuedToken>();
  readonly #forcedAtMs = new Map<string, number>();

  /** Oldest first. */
  list(): readonly IssuedToken[] {
    return this.#all;
  }

  /** @returns why it is invalid */
  check(text: string, nowMs: number): { readonly token: IssuedToken } | "unknown" | "expired" {
    const token = this.#byText.get(text);
    // A revoked or replaced token is "not latest"; only one that ran out is called expired.
    if (token === undefined || token.isRevoked) return "unknown";
    return token.expiresAtMs <= nowMs ? "expired" : { token };
  }

  stable(appid: string, isForced: boolean, nowMs: number): IssuedToken {
    const name = `stable ${appid}`;
    const current = this.#current.get(name);
    const isGood = current !== undefined && !current.isRevoked && current.expiresAtMs > nowMs;
    if (!isForced) {
      if (isGood && current.expiresAtMs - nowMs > HAND_OVER_MS) return handedOut(current);
      // (It stays valid until its own end, which is at most five minutes away.)
      return this.#issue(name, appid, "stable", nowMs);
    }
    const forcedAtMs = this.#forcedAtMs.get(appid) ?? Number.NEGATIVE_INFINITY;
    if (isGood && nowMs - forcedAtMs < FORCE_EVERY_MS) return handedOut(current);
    this.#forcedAtMs.set(appid, nowMs);
    if (current !== undefined) current.isRevoked = true;
    return this.#issue(name, appid, "stable", nowMs);
  }

  legacy(appid: string, nowMs: number): IssuedToken {
    const name = `legacy ${appid}`;
    const former = this.#current.get(name);
    for (const token of this.#all) {
      if (token.appid === appid && token.interface === "legacy" && token !== former) token.isRevoked = true;
    }
    if (former !== undefined) former.expiresAtMs = Math.min(former.expiresAtMs, nowMs + HAND_OVER_MS);
    return this.#issue(name, appid, "legacy", nowMs);
  }

  /** @returns how many were valid until now */
  revoke(appid: string | undefined, nowMs: number): number {
    const good = this.#all.filter(
      (token) =>
        !token.isRevoked && token.expiresAtMs > nowMs && (appid === undefined || token.appid === appid),
    );
    for (const token of good) token.isRevoked = true;
    return good.length;
  }

  #issue(name: string, appid: string, kind: IssuedToken["interface"], nowMs: number): IssuedToken {
    const token: IssuedToken = {
      appid,
      // WeChat asks clients to reserve 512 characters.
      token: `SIM_${randomBytes(96).toString("base64url")}`,
      interface: kind,
      issuedAtMs: nowMs,
      expiresAtMs: nowMs + EXPIRES_MS,
      isRevoked: false,
      fetches: 1,
    };
    this.#current.set(name, token);
    this.#byText.set(token.token, token);
    this.#all.push(token);
    if (this.#all.length > MAX_KEPT) {
      const oldest = this.#all.shift();
      if (oldest !== undefined) this.#byText.delete(oldest.token);
    }
    return token;
  }
}

function handedOut(token: IssuedToken): IssuedToken {
  token.fetches++;
  return token;
}
