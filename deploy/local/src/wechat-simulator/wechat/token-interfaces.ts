// The WeChat simulator: the two interfaces that issue access tokens.
// Guarantees: checks a request in WeChat's order; a refused one counts against no limit and makes no token.
import type { IssuedToken } from "../state/issued-tokens.js";
import type { Simulation } from "../state/simulation.js";
import { wechatError, type WechatAnswer } from "./wechat-error.js";

type TokenAnswer = WechatAnswer | { readonly access_token: string; readonly expires_in: number };

/** POST /cgi-bin/stable_token */
export function answerStableToken(simulation: Simulation, body: string): TokenAnswer {
  if (body === "") return wechatError(44002);
  let request: unknown;
  try {
    request = JSON.parse(body);
  } catch {
    return wechatError(47001);
  }
  if (typeof request !== "object" || request === null) return wechatError(47001);
  const {
    grant_type,
    appid,
    secret,
    force_refresh: force = false,
  } = request as Readonly<Record<string, unknown>>;
  if (typeof force !== "boolean") return wechatError(47001);
  const refused = refuse(simulation, { grant_type, appid, secret });
  if (refused !== undefined) return refused;
  const name = String(appid);
  const nowMs = simulation.nowMs();
  const limit = simulation.quota(name, force ? "forcedToken" : "stableToken").take(nowMs);
  if (limit !== undefined) return wechatError(limit === "day" ? 45009 : 45011);
  return describe(simulation.tokens.stable(name, force, nowMs), nowMs);
}

/** GET /cgi-bin/token */
export function answerLegacyToken(
  simulation: Simulation,
  query: Readonly<Record<string, unknown>>,
): TokenAnswer {
  const refused = refuse(simulation, query);
  if (refused !== undefined) return refused;
  const name = String(query["appid"]);
  const nowMs = simulation.nowMs();
  const limit = simulation.quota(name, "legacyToken").take(nowMs);
  if (limit !== undefined) return wechatError(limit === "day" ? 45009 : 45011);
  return describe(simulation.tokens.legacy(name, nowMs), nowMs);
}

function refuse(
  simulation: Simulation,
  { grant_type: grant, appid, secret }: Readonly<Record<string, unknown>>,
): WechatAnswer | undefined {
  if (grant !== "client_credential") return wechatError(40002);
  if (typeof appid !== "string" || appid === "") return wechatError(41002);
  if (typeof secret !== "string" || secret === "") return wechatError(41004);
  const app = simulation.apps.get(appid);
  if (app === undefined) return wechatError(40013);
  if (app.secret !== secret) return wechatError(40125);
  const scripted = simulation.takeTokenAnswer();
  return scripted === undefined ? undefined : wechatError(scripted.errcode, scripted.errmsg);
}

function describe({ token, expiresAtMs }: IssuedToken, nowMs: number): TokenAnswer {
  return { access_token: token, expires_in: Math.floor((expiresAtMs - nowMs) / 1_000) };
}
