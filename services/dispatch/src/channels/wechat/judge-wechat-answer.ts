// send-to-openid, access-tokens -> here: what WeChat's answer means, and what to do about it.
// Guarantees: every code in the table of docs/phones/wechat.md has one meaning; an unlisted one is a refusal of the
// message, with WeChat's own words. No reason holds a token, a secret or an openid.
// Codes and words: https://developers.weixin.qq.com/doc/oplatform/developers/errCode/errCode.html (general), and the
// pages of the two ways to send, see wechat-client. 43116, 43117 and 45109 are in no table: their words are WeChat's
// own, as quoted in its community (for 45109: /community/develop/doc/00086cee348a80792ab2b04576bc00).

/** `errcode` and `errmsg`, which every answer of WeChat has. */
export interface WechatError {
  readonly errcode: number;
  readonly errmsg: string;
}

export type WechatVerdict =
  | { readonly kind: "taken" }
  /** The access token is invalid or has expired. */
  | { readonly kind: "renew-token"; readonly reason: string }
  /** It may pass at any moment. */
  | { readonly kind: "retry"; readonly reason: string }
  /** WeChat accepts nothing more from this app until then. */
  | { readonly kind: "rest"; readonly reason: string; readonly until: "next-minute" | "next-day" }
  /** The user does not accept messages of this template. */
  | { readonly kind: "refused"; readonly reason: string }
  /** The openid does not belong to this app. */
  | { readonly kind: "unbind"; readonly reason: string; readonly why: "openid-invalid" | "not-following" }
  /** Somebody must fix something at WeChat, or in WECHAT_APPS_FILE. */
  | { readonly kind: "misconfigured"; readonly reason: string }
  /** It would always be refused. */
  | { readonly kind: "failed"; readonly reason: string };

const misconfigured: Readonly<Record<number, string>> = {
  40013: "there is no such appid",
  40037: "this app has no such template",
  40125: "the secret is wrong",
  40164: "this server's address is not on the app's list of allowed addresses",
  41002: "the appid is missing",
  41004: "the secret is missing",
  43116: "the template is banned",
  45109: "WeChat no longer supports this kind of message for the app",
  48001: "the app has no right to this interface",
  48004: "the interface is barred for this app",
};

const refusals: Readonly<Record<number, string>> = {
  41030: "there is no such page in the mini program",
  43117: "too many messages to this user",
  43019: "the user is on the account's blacklist",
};

/** @param isRepetition an earlier attempt may have arrived; then a duplicate means that one */
export function judgeWechatAnswer({ errcode, errmsg }: WechatError, isRepetition: boolean): WechatVerdict {
  const said = (meaning: string): string => `${errcode}: ${meaning} (${wordsOf(errmsg)})`;
  switch (errcode) {
    case 0:
      return { kind: "taken" };
    case -1:
      return { kind: "retry", reason: said("WeChat is busy") };
    case 40001:
    case 40014:
    case 42001:
      return { kind: "renew-token", reason: said("the access token is not good") };
    case 45011:
      return { kind: "rest", until: "next-minute", reason: said("the app's limit of the minute is reached") };
    case 45009:
      return { kind: "rest", until: "next-day", reason: said("the app's limit of the day is reached") };
    case 43101:
      return { kind: "refused", reason: said("the user does not take messages of this template") };
    case 40003:
      return { kind: "unbind", why: "openid-invalid", reason: said("the openid is none of this app's") };
    case 43004:
      return { kind: "unbind", why: "not-following", reason: said("the user does not follow the account") };
    case 47003:
      return { kind: "failed", reason: said(`WeChat does not take ${fieldOf(errmsg)}`) };
    case 40241:
    case 45065:
      // This comes from an earlier attempt that had no answer.
      return isRepetition
        ? { kind: "taken" }
        : { kind: "failed", reason: said("WeChat takes it for a repetition") };
    default: {
      const mend = misconfigured[errcode];
      if (mend !== undefined) return { kind: "misconfigured", reason: said(mend) };
      return { kind: "failed", reason: said(refusals[errcode] ?? "refused") };
    }
  }
}

/** https://developers.weixin.qq.com/…/sendMessage.html: "errmsg会提示具体是哪个字段出错". */
function fieldOf(errmsg: string): string {
  const [, field] = /\bdata\.([A-Za-z_]{1,31}\d{0,3})/.exec(errmsg) ?? [];
  return field === undefined ? "a field of the template" : `data.${field}`;
}

/** Without the request's number, which is shown separately: see `requestIdOf`. */
function wordsOf(errmsg: string): string {
  return errmsg.replace(/\s*rid: ?[\w-]+/, "").slice(0, 200);
}

/** The id by which WeChat's support can find the request. */
export function requestIdOf(errmsg: string): string | undefined {
  return /\brid: ?([\w-]{1,64})/.exec(errmsg)?.[1];
}

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
/** Daily quotas reset at midnight in Beijing. */
const BEIJING_AHEAD_MS = 8 * 60 * MINUTE_MS;

/** @param wallMs ms since 1970 */
export function untilQuotaMs(until: "next-minute" | "next-day", wallMs: number): number {
  const [period, ahead] = until === "next-minute" ? [MINUTE_MS, 0] : [DAY_MS, BEIJING_AHEAD_MS];
  return period - ((wallMs + ahead) % period);
}
