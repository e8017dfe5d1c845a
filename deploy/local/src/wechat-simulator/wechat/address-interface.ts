// The WeChat simulator: the interface that returns WeChat's own addresses.
// Guarantees: requires only a valid token; counts against no limit. Page: see
// services/dispatch/src/channels/wechat/wechat-client.ts.
import type { Simulation } from "../state/simulation.js";
import { findCaller } from "./find-caller.js";
import type { WechatAnswer } from "./wechat-error.js";

/** GET /cgi-bin/get_api_domain_ip */
export function answerAddresses(
  simulation: Simulation,
  accessToken: unknown,
): WechatAnswer | { readonly ip_list: readonly string[] } {
  const app = findCaller(simulation, accessToken);
  return "errcode" in app ? app : { ip_list: ["127.0.0.1"] };
}
