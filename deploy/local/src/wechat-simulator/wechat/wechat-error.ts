// The WeChat simulator: an error answer.
// Guarantees: HTTP 200, because WeChat always answers that; WeChat's own message, and the request's number.
import { randomBytes } from "node:crypto";

/**
 * From https://developers.weixin.qq.com/doc/oplatform/developers/errCode/errCode.html, or as quoted in WeChat's
 * community.
 */
const words: Readonly<Record<number, string>> = {
  [-1]: "system error",
  40001:
    "invalid credential, access_token is invalid or not latest, could get access_token by getStableAccessToken",
  40002: "invalid grant_type",
  40003: "invalid openid",
  40013: "invalid appid",
  40037: "invalid template_id",
  40125: "invalid appsecret",
  40164: "invalid ip 127.0.0.1, not in whitelist",
  41001: "access_token missing",
  41002: "appid missing",
  41004: "appsecret missing",
  41030: "invalid page",
  42001: "access_token expired",
  43001: "require GET method",
  43002: "require POST method",
  43004: "require subscribe",
  43101: "user refuse to accept the msg",
  43116: "This template_id is banned",
  43117: "Sending messages to this openid too frequently,please try later",
  44002: "empty post data",
  45009: "reach max api daily quota limit",
  45011: "api minute-quota reach limit  mustslower  retry next minute",
  45109: "This API has been unsupported",
  47001: "data format error",
  47003: "argument invalid!",
  48001: "api unauthorized",
};

export interface WechatAnswer {
  readonly errcode: number;
  readonly errmsg: string;
  readonly [member: string]: unknown;
}

/** @param errmsg if it is more than the code's usual message */
export function wechatError(errcode: number, errmsg = words[errcode] ?? "error"): WechatAnswer {
  const rid = [4, 4, 4].map((bytes) => randomBytes(bytes).toString("hex")).join("-");
  return { errcode, errmsg: `${errmsg} rid: ${rid}` };
}
