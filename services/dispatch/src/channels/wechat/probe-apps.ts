// diagnose/read-diagnosis -> wechat-channel -> here -> access-tokens, wechat-client: whether WeChat can be reached and
// accepts our apps' secrets and tokens.
// Guarantees: nobody gets anything, and no sending quota is used, because WeChat is asked only for its own addresses. A
// token is fetched exactly as for a send, never forced. Changes no gate. If WeChat is silent until `signal` is aborted,
// that is reported too.
import type { ChannelProbe } from "../fallback-channel.js";
import { unlessAborted } from "../unless-aborted.js";
import type { AccessTokens } from "./access-tokens.js";
import type { AppGate } from "./app-gate.js";
import { judgeWechatAnswer } from "./judge-wechat-answer.js";
import type { WechatApp } from "./wechat-apps.js";
import type { WechatClient } from "./wechat-client.js";

export interface ProbeAppsDeps {
  readonly apps: ReadonlyMap<string, WechatApp>;
  readonly gateOf: (appid: string) => Pick<AppGate, "isClosed">;
  readonly tokens: Pick<AccessTokens, "current" | "refuse">;
  readonly client: Pick<WechatClient, "askAddresses">;
}

type Found = Pick<ChannelProbe, "verdict" | "answer">;

export function probeApps(deps: ProbeAppsDeps, signal: AbortSignal): Promise<ChannelProbe[]> {
  return Promise.all(
    [...deps.apps.values()].map(async (app) => {
      const found = await unlessAborted(probe(deps, app, signal), signal).catch((error: unknown): Found => {
        if (!signal.aborted) throw error;
        return { verdict: "unreachable", answer: "no answer in time" };
      });
      return { credential: app.appid, isHalted: deps.gateOf(app.appid).isClosed, ...found };
    }),
  );
}

async function probe(deps: ProbeAppsDeps, app: WechatApp, signal: AbortSignal): Promise<Found> {
  const found = await askOnce(deps, app, signal);
  // Another process may have renewed it: like a send, try once more with the token that is there now.
  return found === "renewed" ? await askAgain(deps, app, signal) : found;
}

async function askAgain(deps: ProbeAppsDeps, app: WechatApp, signal: AbortSignal): Promise<Found> {
  const found = await askOnce(deps, app, signal);
  return found === "renewed" ? { verdict: "refused", answer: "a fresh access token is refused too" } : found;
}

async function askOnce(
  { tokens, client }: ProbeAppsDeps,
  app: WechatApp,
  signal: AbortSignal,
): Promise<Found | "renewed"> {
  const current = await tokens.current(app);
  if (current.kind === "none" && current.why === "halted") {
    return { verdict: "refused", answer: current.reason };
  }
  // Without a token WeChat refuses, which proves that it can be reached.
  const answer = await client.askAddresses(current.kind === "none" ? "" : current.token.text, signal);
  if (answer.kind === "unanswered") return { verdict: "unreachable", answer: answer.why };
  if (current.kind === "none") return { verdict: "busy", answer: current.reason };
  const judged = judgeWechatAnswer(answer, false);
  switch (judged.kind) {
    case "taken":
      return { verdict: "good", answer: "its token is taken" };
    case "renew-token":
      await tokens.refuse(app, current.token);
      return "renewed";
    case "retry":
    case "rest":
      return { verdict: "busy", answer: judged.reason };
    default:
      return { verdict: "refused", answer: judged.reason };
  }
}
