// The WeChat simulator: the two interfaces that send messages.
// Guarantees: checks the token, then the limits, then the message's form, then its user; only accepted messages are
// listed. Pages: see services/dispatch/src/channels/wechat/wechat-client.ts.
import type { SimulatedApp } from "../state/simulated-apps.js";
import type { Simulation } from "../state/simulation.js";
import { findWrongField } from "./check-fields.js";
import { findCaller } from "./find-caller.js";
import { wechatError, type WechatAnswer } from "./wechat-error.js";
import { parseUrl } from "@petrel/shared/kernel/parse-url";

const known: Readonly<Record<SimulatedApp["kind"], readonly string[]>> = {
  "service-account": ["touser", "template_id", "url", "miniprogram", "data", "client_msg_id", "color"],
  "mini-program": ["touser", "template_id", "page", "miniprogram_state", "lang", "data"],
};

/** POST /cgi-bin/message/template/send of a service account, /cgi-bin/message/subscribe/send of a mini program. */
export function answerSend(
  simulation: Simulation,
  kind: SimulatedApp["kind"],
  accessToken: unknown,
  body: string,
): WechatAnswer {
  const nowMs = simulation.nowMs();
  const app = findCaller(simulation, accessToken);
  if ("errcode" in app) return app;
  if (app.kind !== kind) return wechatError(48001);
  if (body === "") return wechatError(44002);
  const request = readObject(body);
  if (request === undefined) return wechatError(47001);
  const limit = simulation.quota(app.appid, "send").take(nowMs);
  if (limit !== undefined) return wechatError(limit === "day" ? 45009 : 45011);
  return answerMessage(simulation, app, request, nowMs);
}

function answerMessage(
  simulation: Simulation,
  app: SimulatedApp,
  request: Readonly<Record<string, unknown>>,
  atMs: number,
): WechatAnswer {
  const { touser, template_id: template, data, client_msg_id: clientId } = request;
  if (typeof touser !== "string" || !/^[\w-]{1,128}$/.test(touser)) return wechatError(40003);
  const scripted = simulation.takeAnswer(touser);
  if (scripted !== undefined && scripted.errcode !== 0) return wechatError(scripted.errcode, scripted.errmsg);
  const fields = typeof template === "string" ? app.templates.get(template) : undefined;
  if (typeof template !== "string" || fields === undefined) return wechatError(40037);
  const unknown = Object.keys(request).find((name) => !known[app.kind].includes(name));
  // WeChat may overlook it; who writes a client wants to know.
  if (unknown !== undefined) return wechatError(47001, `data format error: unknown ${unknown}`);
  const wrong = findWrongField(fields, data) ?? findWrongLink(request);
  if (wrong !== undefined) return wechatError(47003, wrong);
  if (clientId !== undefined && (typeof clientId !== "string" || clientId === "" || clientId.length > 64)) {
    return wechatError(47003, "argument invalid! client_msg_id invalid");
  }
  const { follows = true, refuses = [] } = simulation.user(touser);
  if (app.kind === "service-account" && !follows) return wechatError(43004);
  if (refuses.includes(template)) return wechatError(43101);
  const { appid, kind } = app;
  const { msgid } = simulation.messages.add(touser, { atMs, appid, kind, request }, clientId);
  return { errcode: 0, errmsg: "ok", msgid };
}

function findWrongLink({
  url,
  miniprogram,
  page,
  miniprogram_state: state,
  lang,
}: Readonly<Record<string, unknown>>) {
  if (url !== undefined && (typeof url !== "string" || parseUrl(url) === undefined))
    return "argument invalid! url invalid";
  if (page !== undefined && (typeof page !== "string" || page.includes("://")))
    return "argument invalid! page invalid";
  if (miniprogram !== undefined) {
    const appid =
      typeof miniprogram === "object" && miniprogram !== null && "appid" in miniprogram && miniprogram.appid;
    if (typeof appid !== "string" || appid === "") return "argument invalid! miniprogram.appid is empty";
  }
  if (state !== undefined && !["developer", "trial", "formal"].some((one) => one === state)) {
    return "argument invalid! miniprogram_state invalid";
  }
  if (lang !== undefined && !["zh_CN", "en_US", "zh_HK", "zh_TW"].some((one) => one === lang)) {
    return "argument invalid! lang invalid";
  }
  return undefined;
}

function readObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? (value as Readonly<Record<string, unknown>>) : undefined;
  } catch {
    return undefined;
  }
}
