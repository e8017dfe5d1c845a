// The WeChat simulator: the app that an access token belongs to.
// Guarantees: an error's code says why it belongs to none: missing, unknown or expired.
import type { SimulatedApp } from "../state/simulated-apps.js";
import type { Simulation } from "../state/simulation.js";
import { wechatError, type WechatAnswer } from "./wechat-error.js";

export function findCaller(simulation: Simulation, accessToken: unknown): SimulatedApp | WechatAnswer {
  if (typeof accessToken !== "string" || accessToken === "") return wechatError(41001);
  const checked = simulation.tokens.check(accessToken, simulation.nowMs());
  if (checked === "unknown") return wechatError(40001);
  if (checked === "expired") return wechatError(42001);
  return simulation.apps.get(checked.token.appid) ?? wechatError(40001);
}
