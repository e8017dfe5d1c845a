// Tests what `petrel doctor` asks of WeChat.
// Guarantees: each answer has its verdict; a token that another process has renewed meanwhile is no fault.
import { expect, test } from "vitest";
import type { TokenAnswer } from "./access-tokens.js";
import { probeApps } from "./probe-apps.js";
import type { WechatApp } from "./wechat-apps.js";
import type { Answered, Unanswered } from "./wechat-client.js";

const app: WechatApp = { appid: "wx1", kind: "mini-program", secret: "s", template: undefined, opens: {} };
const never = new AbortController().signal;
const token = (text: string): TokenAnswer => ({ kind: "token", token: { id: text, text } });
const none = (why: "halted" | "resting", reason: string): TokenAnswer => ({
  kind: "none",
  why,
  reason,
  afterMs: 1_000,
});
const said = (errcode: number, errmsg = "words"): Answered => ({ kind: "answered", errcode, errmsg });

interface Far {
  readonly current?: TokenAnswer;
  readonly answers: readonly (Answered | Unanswered | "silence")[];
  readonly isClosed?: boolean;
  readonly signal?: AbortSignal;
}

async function probeWith({ current = token("t1"), answers, isClosed = false, signal = never }: Far) {
  const asked: string[] = [];
  const refused: string[] = [];
  const left = [...answers];
  const probes = await probeApps(
    {
      apps: new Map([[app.appid, app]]),
      gateOf: () => ({ isClosed }),
      tokens: {
        current: () => Promise.resolve(refused.length > 0 ? token("t2") : current),
        refuse: (_app, { id }) => Promise.resolve(void refused.push(id)),
      },
      client: {
        askAddresses: (text) => {
          asked.push(text);
          const answer = left.shift() ?? said(-1);
          return answer === "silence" ? new Promise(() => undefined) : Promise.resolve(answer);
        },
      },
    },
    signal,
  );
  return { asked, refused, probe: probes[0] };
}

test.each<[string, Far, string, RegExp]>([
  ["its token is accepted", { answers: [said(0)] }, "good", /^its token is taken$/],
  [
    "the secret is wrong",
    { current: none("halted", "40125: the secret is wrong"), answers: [] },
    "refused",
    /40125/,
  ],
  ["this server's address is not listed", { answers: [said(40164)] }, "refused", /^40164: /],
  ["an unknown code", { answers: [said(99999)] }, "refused", /^99999: /],
  ["WeChat is busy", { answers: [said(-1)] }, "busy", /^-1: /],
  ["the quota is used up", { answers: [said(45009)] }, "busy", /^45009: /],
  [
    "no token for a while, and it is reached",
    { current: none("resting", "45009: the app's limit of the day is reached"), answers: [said(41001)] },
    "busy",
    /^45009/,
  ],
  [
    "no token for a while, and it is not reached",
    {
      current: none("resting", "ECONNREFUSED"),
      answers: [{ kind: "unanswered", why: "ECONNREFUSED", mayHaveArrived: false }],
    },
    "unreachable",
    /^ECONNREFUSED$/,
  ],
])("%s", async (_name, far, verdict, answer) => {
  const { probe } = await probeWith(far);
  expect(probe).toMatchObject({ credential: "wx1", isHalted: false, verdict });
  expect(probe?.answer).toMatch(answer);
});

test("drops a token that WeChat does not know, and tries another one, once", async () => {
  const renewed = await probeWith({ answers: [said(40001), said(0)] });
  expect([renewed.asked, renewed.refused, renewed.probe?.verdict]).toEqual([["t1", "t2"], ["t1"], "good"]);
  const refused = await probeWith({ answers: [said(40001), said(40001), said(0)] });
  expect([refused.asked, refused.probe?.verdict]).toEqual([["t1", "t2"], "refused"]);
});

test("reports a closed gate", async () => {
  expect((await probeWith({ answers: [said(0)], isClosed: true })).probe).toMatchObject({
    verdict: "good",
    isHalted: true,
  });
});

test("a silent WeChat is unreachable", async () => {
  const patience = new AbortController();
  const probed = probeWith({ answers: ["silence"], signal: patience.signal });
  patience.abort(new Error("late"));
  expect((await probed).probe).toMatchObject({ verdict: "unreachable", answer: "no answer in time" });
});
