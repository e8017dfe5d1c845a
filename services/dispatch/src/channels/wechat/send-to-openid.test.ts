// Tests what a send that never reaches WeChat, for want of an access token, means for its app's gate.
// Guarantees: it opens nothing, and leaves its turn to the next send.
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { NO_TRACING } from "@petrel/shared/kernel/tracing/tracing";
import { expect, test } from "vitest";
import { job } from "../../testing/channel-conformance.js";
import type { TokenAnswer } from "./access-tokens.js";
import { AppGate } from "./app-gate.js";
import { sendToOpenid } from "./send-to-openid.js";
import type { WechatApp } from "./wechat-apps.js";

const app: WechatApp = {
  appid: "wx1",
  kind: "service-account",
  secret: "s",
  template: { id: "T1", fields: { thing1: "{title}" } },
  opens: {},
};
const logger = createLogger({ service: "test", level: "silent" });
const resting: TokenAnswer = { kind: "none", why: "resting", reason: "no answer", afterMs: 1_000 };

/** After five sends without an answer, when the first look is due. */
function openGate(): AppGate {
  const clock = { nowMs: 0, monotonicMs: () => clock.nowMs };
  const gate = new AppGate({ appid: app.appid, clock, logger, random: () => 0 });
  for (let i = 0; i < 5; i++) gate.unanswered({ passage: "open" });
  clock.nowMs = 1_000;
  return gate;
}

async function send(gate: AppGate, current: () => Promise<TokenAnswer>, either: AbortSignal) {
  const { kind } = await sendToOpenid(
    {
      apps: new Map([[app.appid, app]]),
      gateOf: () => gate,
      tokens: { current, refuse: () => Promise.resolve() },
      client: { send: () => Promise.reject(new Error("nothing is to be sent")) },
      invalidations: { forget: () => undefined },
      devices: { touch: () => Promise.resolve() },
      metrics: { sent: () => undefined, took: () => undefined },
      logger,
      clock: { monotonicMs: () => 0, wallMs: () => 0 },
      tracing: NO_TRACING,
    },
    {
      job,
      device: {
        id: "d1",
        platform: "wechat",
        openid: "o-ada",
        appid: app.appid,
        registeredAtMs: 0,
        lastSeenAtMs: 0,
      },
      refusals: { includes: () => false },
      unansweredAtMs: undefined,
      nowMs: 0,
      noteRefusal: () => Promise.resolve(),
      noteUnanswered: () => Promise.resolve(),
    },
    { ending: new AbortController().signal, either },
  );
  return kind;
}

test.each<[string, string, () => Promise<TokenAnswer>, AbortSignal]>([
  ["no token available", "held", () => Promise.resolve(resting), new AbortController().signal],
  ["the token does not come in time", "retry", () => new Promise(() => undefined), AbortSignal.abort()],
])("%s: the gate stays closed, and the next send checks at once", async (_name, kind, current, either) => {
  const gate = openGate();
  expect(await send(gate, current, either)).toBe(kind);
  expect(gate.isClosed).toBe(true);
  expect([gate.pass().passage, gate.pass().passage]).toEqual(["open", "closed"]);
});
