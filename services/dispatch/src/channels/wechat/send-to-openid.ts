// wechat-channel -> here -> access-tokens, wechat-client: sends one message to one openid and acts on the answer.
// Guarantees: nothing is sent to a user who has refused the template, nor while the app is paused. A refused token is
// replaced once. A device is forgotten only on WeChat's own word. What may have arrived is repeated only while WeChat
// would recognise it. A fault is an outcome, not an error.
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { Span, Tracing } from "@petrel/shared/kernel/tracing/tracing";
import { tokenEndOf, type WechatDevice } from "@petrel/shared/protocol/fallback/device";
import type { DeviceInvalidations } from "@petrel/shared/redis/devices/device-invalidations";
import type { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import type { Refusals } from "@petrel/shared/redis/wechat/wechat-notes";
import type { DeviceOutcome, DeviceResult } from "../combine-results.js";
import type { FallbackJob } from "../fallback-channel.js";
import { unlessAborted } from "../unless-aborted.js";
import type { AccessTokens } from "./access-tokens.js";
import type { AppGate, OpenPassage } from "./app-gate.js";
import { buildWechatMessage } from "./build-wechat-message.js";
import { judgeWechatAnswer, requestIdOf, untilQuotaMs, type WechatVerdict } from "./judge-wechat-answer.js";
import type { WechatApp } from "./wechat-apps.js";
import type { Answered, Unanswered, WechatClient } from "./wechat-client.js";
import type { SendOutcome, WechatMetrics } from "./wechat-metrics.js";

export interface SendToOpenidDeps {
  readonly apps: ReadonlyMap<string, WechatApp>;
  readonly gateOf: (appid: string) => AppGate;
  readonly tokens: Pick<AccessTokens, "current" | "refuse">;
  readonly client: Pick<WechatClient, "send">;
  readonly invalidations: Pick<DeviceInvalidations, "forget">;
  readonly devices: Pick<DevicesStore, "touch">;
  readonly metrics: Pick<WechatMetrics, "sent" | "took">;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly tracing: Tracing;
}

/** What is known about the message besides its content. */
export interface OpenidSend {
  readonly job: FallbackJob;
  readonly device: WechatDevice;
  readonly refusals: Refusals;
  /** When the first attempt without an answer was made, on the clock of `nowMs`; undefined if there was none. */
  readonly unansweredAtMs: number | undefined;
  readonly nowMs: number;
  readonly noteRefusal: (template: string) => Promise<void>;
  readonly noteUnanswered: () => Promise<void>;
}

export interface OpenidSignals {
  /** Aborted when the process must end; only then does the send reject. */
  readonly ending: AbortSignal;
  /** Aborted then too, and when the attempt has taken too long. */
  readonly either: AbortSignal;
}

/** WeChat recognises a `client_msg_id` for ten minutes; this leaves some for the transfer. */
const KNOWN_AGAIN_MS = 9.5 * 60_000;

export async function sendToOpenid(
  deps: SendToOpenidDeps,
  send: OpenidSend,
  signals: OpenidSignals,
): Promise<DeviceResult> {
  const { job, device } = send;
  const { appid } = device;
  const details = { device: device.id, appid, openid: `…${tokenEndOf(device)}` };
  const app = deps.apps.get(appid);
  if (app === undefined) {
    return { kind: "gone", reason: `nothing is configured for ${appid}`, details };
  }
  const built = buildWechatMessage(job, app, device.openid);
  if (built.kind === "none") return { kind: "gone", reason: built.reason, details };
  const nothingSent = (outcome: SendOutcome): void => deps.metrics.sent(appid, outcome, "");
  if (built.kind === "invalid") {
    nothingSent("failed");
    return { kind: "failed", reason: built.reason, details };
  }
  const { template, body } = built;
  if (send.refusals.includes(device, template)) {
    nothingSent("refused");
    return { kind: "gone", reason: "the user has refused messages of this template", details };
  }
  if (isTooLate(app, send)) {
    nothingSent("failed");
    return {
      kind: "failed",
      reason: "an attempt had no answer, and WeChat would not know its repetition any more",
      details,
    };
  }
  const passage = deps.gateOf(appid).pass();
  if (passage.passage === "closed") {
    nothingSent("held");
    return { kind: "held", reason: passage.reason, afterMs: passage.forMs, details };
  }
  const span = beginSpan(deps, job, appid);
  try {
    const sent = await sendWithToken(deps, app, send, { passage, body }, signals);
    const outcome = sent.kind === "held-back" ? sent.outcome : await apply(deps, app, send, template, sent);
    span?.set({ "petrel.outcome": outcome.kind });
    if ("reason" in outcome) span?.fail(outcome.reason);
    const rid = sent.kind === "answered" ? requestIdOf(sent.errmsg) : undefined;
    return { ...outcome, details: rid === undefined ? details : { ...details, rid } };
  } catch (error) {
    span?.fail(describeError(error));
    if (signals.ending.aborted) throw error;
    nothingSent("retry");
    const reason = signals.either.aborted ? "no answer in time" : describeError(error);
    return { kind: "retry", reason, afterMs: undefined, details };
  } finally {
    span?.end();
  }
}

/** WeChat recognises only template messages at all. */
function isTooLate({ kind }: WechatApp, { unansweredAtMs, nowMs }: OpenidSend): boolean {
  return (
    kind === "service-account" && unansweredAtMs !== undefined && nowMs - unansweredAtMs > KNOWN_AGAIN_MS
  );
}

type Sent =
  | (Answered & { readonly verdict: WechatVerdict })
  | Unanswered
  | { readonly kind: "held-back"; readonly outcome: DeviceOutcome };

async function sendWithToken(
  deps: SendToOpenidDeps,
  app: WechatApp,
  { unansweredAtMs, job }: OpenidSend,
  { passage, body }: { readonly passage: OpenPassage; readonly body: string },
  { ending, either }: OpenidSignals,
): Promise<Sent> {
  const { tokens, client, metrics, clock } = deps;
  const gate = deps.gateOf(app.appid);
  for (let isSecond = false; ; isSecond = true) {
    const answer = await unlessAborted(tokens.current(app), either).catch((error: unknown) => {
      gate.released(passage);
      throw error;
    });
    if (answer.kind === "none") {
      const { why, reason, afterMs } = answer;
      // No request was sent, so WeChat has not answered one.
      gate.released(passage);
      metrics.sent(app.appid, why === "halted" ? "misconfigured" : "held", "");
      return {
        kind: "held-back",
        outcome:
          why === "halted"
            ? { kind: "halted", reason: `no access token: ${reason}` }
            : { kind: "held", reason: `no access token: ${reason}`, afterMs },
      };
    }
    const startedMs = clock.monotonicMs();
    const sent = await client.send(app.kind, answer.token.text, body, either);
    metrics.took(app.appid, clock.monotonicMs() - startedMs);
    if (sent.kind === "unanswered") {
      if (ending.aborted) throw ending.reason;
      gate.unanswered(passage);
      return sent;
    }
    gate.answered();
    const verdict = judgeWechatAnswer(sent, unansweredAtMs !== undefined || job.attempt > 1);
    if (verdict.kind !== "renew-token") return { ...sent, verdict };
    await unlessAborted(tokens.refuse(app, answer.token), either);
    if (isSecond) return { ...sent, verdict };
  }
}

const outcomes: Readonly<Record<WechatVerdict["kind"], SendOutcome>> = {
  taken: "taken",
  "renew-token": "retry",
  retry: "retry",
  rest: "held",
  refused: "refused",
  unbind: "unbound",
  misconfigured: "misconfigured",
  failed: "failed",
};

async function apply(
  deps: SendToOpenidDeps,
  { appid }: WechatApp,
  send: OpenidSend,
  template: string,
  sent: Exclude<Sent, { readonly kind: "held-back" }>,
): Promise<DeviceOutcome> {
  const { metrics, clock } = deps;
  if (sent.kind === "unanswered") {
    metrics.sent(appid, "retry", "unanswered");
    if (sent.mayHaveArrived) await send.noteUnanswered();
    return { kind: "retry", reason: sent.why, afterMs: undefined };
  }
  const { verdict, errcode } = sent;
  const gate = deps.gateOf(appid);
  metrics.sent(appid, outcomes[verdict.kind], String(errcode));
  switch (verdict.kind) {
    case "taken":
      gate.goodOpenid();
      touch(deps, send.job.userId, send.device.id);
      return { kind: "taken" };
    case "renew-token":
    case "retry":
      return { kind: "retry", reason: verdict.reason, afterMs: undefined };
    case "rest": {
      const forMs = untilQuotaMs(verdict.until, clock.wallMs());
      gate.rest(verdict.reason, forMs);
      const passage = gate.pass();
      return {
        kind: "held",
        reason: verdict.reason,
        afterMs: passage.passage === "closed" ? passage.forMs : forMs,
      };
    }
    case "refused":
      gate.goodOpenid();
      await send.noteRefusal(template);
      return { kind: "gone", reason: verdict.reason };
    case "unbind":
      if (gate.badOpenid(send.job.userId)) deps.invalidations.forget(invalidationOf(send, verdict.why));
      return { kind: "gone", reason: verdict.reason };
    case "misconfigured":
      return { kind: "halted", reason: verdict.reason };
    case "failed":
      return { kind: "failed", reason: verdict.reason };
  }
}

function invalidationOf(
  { job, device }: OpenidSend,
  reason: "openid-invalid" | "not-following",
): Parameters<DeviceInvalidations["forget"]>[0] {
  const { id: deviceId, appid, registeredAtMs } = device;
  return { userId: job.userId, deviceId, tokenEnd: tokenEndOf(device), topic: appid, reason, registeredAtMs };
}

/** Fire and forget; `lastSeenAt` may lag. */
function touch({ devices, clock, logger }: SendToOpenidDeps, userId: string, deviceId: string): void {
  devices.touch(userId, deviceId, clock.wallMs()).catch((error: unknown) => {
    logger.debug({ reason: describeError(error) }, "device's last-seen time not updated");
  });
}

/** The span names no openid; WeChat can find the request by its `rid`. */
function beginSpan(
  { tracing }: SendToOpenidDeps,
  { id, trace }: FallbackJob,
  appid: string,
): Span | undefined {
  if (trace === undefined) return undefined;
  return tracing.beginSpan("send wechat", trace, {
    kind: "client",
    attributes: { "messaging.message.id": id, "petrel.channel": "wechat", "petrel.wechat.appid": appid },
  });
}
