// web-channel -> here -> webhooks/sender: one message to one browser, through its push service.
// Guarantees: nothing goes to an endpoint that WEB_PUSH_HOSTS does not (or no longer) list, nor to a private address
// that the operator has not named. A subscription is forgotten only on its push service's word, or after its own
// expiry. A fault is an outcome, not an error.
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { Tracing } from "@petrel/shared/kernel/tracing/tracing";
import { hostOfEndpoint, tokenEndOf, type WebDevice } from "@petrel/shared/protocol/fallback/device";
import type { Priority } from "@petrel/shared/protocol/messages/stored-message";
import type {
  DeviceInvalidations,
  InvalidationReason,
} from "@petrel/shared/redis/devices/device-invalidations";
import type { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import type { PushHosts } from "@petrel/shared/security/web-push/push-hosts";
import type { PostAnswer, WebhookSender } from "../../webhooks/sender/webhook-sender.js";
import type { DeviceOutcome, DeviceResult } from "../combine-results.js";
import type { FallbackJob } from "../fallback-channel.js";
import { topicOf } from "./build-push.js";
import { encryptPayload } from "./encrypt-payload.js";
import type { HostBreaker } from "./host-breaker.js";
import { judgePushAnswer, type PushVerdict } from "./judge-push-answer.js";
import type { VapidTokens } from "./vapid-tokens.js";
import type { WebPushMetrics } from "./web-push-metrics.js";

export interface SendToBrowserDeps {
  readonly hosts: PushHosts;
  readonly senders: {
    /** Sends to public addresses only. */
    readonly open: Pick<WebhookSender, "post">;
    /** Sends to origins that the operator names, which may be private. */
    readonly named: Pick<WebhookSender, "post">;
  };
  readonly vapid: VapidTokens;
  readonly breaker: HostBreaker;
  readonly invalidations: Pick<DeviceInvalidations, "forget">;
  readonly devices: Pick<DevicesStore, "touch">;
  readonly metrics: Pick<WebPushMetrics, "sent">;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly tracing: Tracing;
}

const urgencies = { high: "high", normal: "normal", low: "low" } as const satisfies Record<Priority, string>;
/** 28 days: some services refuse more. */
const MAX_TTL_SECONDS = 2_419_200;

/**
 * @param text see build-push
 * @throws only if `signal` is aborted
 */
export async function sendToBrowser(
  deps: SendToBrowserDeps,
  job: FallbackJob,
  text: Buffer,
  device: WebDevice,
  signal: AbortSignal,
): Promise<DeviceResult> {
  const { endpoint } = device;
  const host = hostOfEndpoint(endpoint);
  const details = { device: device.id, host, endpoint: `…${tokenEndOf(device)}` };
  const verdict = deps.hosts.judge(endpoint);
  if (!verdict.ok) return { kind: "gone", reason: `its endpoint ${verdict.problem}`, details };
  if (device.expiresAtMs !== undefined && device.expiresAtMs <= deps.clock.wallMs()) {
    forget(deps, job.userId, device, "subscription-expired");
    return { kind: "gone", reason: "the subscription has expired", details };
  }
  const waitMs = deps.breaker.admit(host);
  if (waitMs !== undefined) {
    return { kind: "held", reason: `${host} has not taken pushes: paused`, afterMs: waitMs, details };
  }
  let body: Buffer;
  try {
    body = encryptPayload(text, device);
  } catch (error) {
    return { kind: "gone", reason: `its keys cannot be used: ${describeError(error)}`, details };
  }
  const post = { url: endpoint, headers: headersOf(deps, job, endpoint), body };
  const sender = verdict.isNamed ? deps.senders.named : deps.senders.open;
  const span = deps.tracing.beginSpan("send web push", job.trace, {
    kind: "client",
    attributes: { "messaging.message.id": job.id, "petrel.channel": "web", "server.address": host },
  });
  const startedMs = deps.clock.monotonicMs();
  let answer: PostAnswer;
  try {
    answer = await sender.post(post, signal);
  } catch (error) {
    span?.fail("this process ends");
    span?.end();
    throw error;
  }
  const tookMs = deps.clock.monotonicMs() - startedMs;
  if ("error" in answer) {
    deps.metrics.sent("unanswered", undefined, tookMs);
    deps.breaker.failed(host);
    span?.fail(answer.error);
    span?.end();
    return { kind: "retry", reason: answer.error, afterMs: undefined, details };
  }
  const { status, retryAfter } = answer;
  const meaning = judgePushAnswer(status, retryAfter, deps.clock.wallMs());
  deps.metrics.sent(meaning.kind, status, tookMs);
  span?.set({
    "http.request.method": "POST",
    "http.response.status_code": status,
    "petrel.outcome": meaning.kind,
  });
  if ("reason" in meaning) span?.fail(meaning.reason);
  span?.end();
  return { ...apply(deps, job, device, host, meaning), details };
}

function headersOf(
  { vapid, clock }: SendToBrowserDeps,
  { priority, collapseKey, expiresAtMs, serverNowMs = () => clock.wallMs() }: FallbackJob,
  endpoint: string,
): Readonly<Record<string, string>> {
  const leftSeconds = Math.ceil((expiresAtMs - serverNowMs()) / 1_000);
  return {
    authorization: vapid.authorize(new URL(endpoint).origin),
    "content-type": "application/octet-stream",
    "content-encoding": "aes128gcm",
    ttl: String(Math.min(Math.max(0, leftSeconds), MAX_TTL_SECONDS)),
    urgency: urgencies[priority],
    ...(collapseKey === undefined ? {} : { topic: topicOf(collapseKey) }),
  };
}

function apply(
  deps: SendToBrowserDeps,
  { userId }: FallbackJob,
  device: WebDevice,
  host: string,
  verdict: PushVerdict,
): DeviceOutcome {
  if (verdict.kind === "retry" && verdict.isFault) deps.breaker.failed(host);
  else deps.breaker.answered(host);
  if (verdict.kind === "taken") {
    // Fire and forget; `lastSeenAt` may lag.
    deps.devices.touch(userId, device.id, deps.clock.wallMs()).catch((error: unknown) => {
      deps.logger.debug({ reason: describeError(error) }, "device's last-seen time not updated");
    });
  }
  if (verdict.kind === "gone") forget(deps, userId, device, "subscription-gone");
  return verdict;
}

function forget(
  { invalidations }: SendToBrowserDeps,
  userId: string,
  device: WebDevice,
  reason: InvalidationReason,
): void {
  const { id: deviceId, endpoint, registeredAtMs } = device;
  const topic = hostOfEndpoint(endpoint);
  invalidations.forget({ userId, deviceId, tokenEnd: tokenEndOf(device), topic, reason, registeredAtMs });
}
