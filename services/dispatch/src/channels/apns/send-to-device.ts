// apns-channel -> here -> apns-pool: sends one message to one device and acts on the answer.
// Guarantees: nothing is sent while the credential is halted, for all topics or for this one, or while the app's
// breaker is open. A device is forgotten or quarantined only on Apple's own word, and not while the breaker is open. A
// fault is an outcome, not an error.
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { Span, Tracing } from "@petrel/shared/kernel/tracing/tracing";
import { type IosDevice, tokenEndOf } from "@petrel/shared/protocol/fallback/device";
import type { DeviceInvalidations, Invalidation } from "@petrel/shared/redis/devices/device-invalidations";
import type { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import type { FallbackJob } from "../fallback-channel.js";
import type { ApnsResult } from "./connection/apns-exchange.js";
import type { ApnsRoute, ApnsRoutes } from "./apns-routes.js";
import type { ApnsMetrics } from "./apns-metrics.js";
import { buildApnsRequest } from "./apns-request.js";
import type { DeviceOutcome, DeviceResult } from "../combine-results.js";
import type { DeviceBreaker } from "./device-breaker.js";
import { type ApnsVerdict, judgeApnsAnswer } from "./judge-apns-answer.js";

export interface SendToDeviceDeps {
  readonly routes: ApnsRoutes;
  readonly breaker: DeviceBreaker;
  readonly invalidations: Pick<DeviceInvalidations, "forget" | "quarantine">;
  readonly devices: Pick<DevicesStore, "touch">;
  readonly metrics: Pick<ApnsMetrics, "sent" | "noApp">;
  readonly logger: Logger;
  readonly clock: Clock;
  /** How long a device is quarantined if Apple calls its token bad, ms. */
  readonly quarantineMs: number;
  readonly tracing: Tracing;
}

export interface SendSignals {
  /** Aborted when the process must end; only then does the send reject. */
  readonly ending: AbortSignal;
  /** Aborted then too, and when the attempt has taken too long. */
  readonly either: AbortSignal;
}

export async function sendToDevice(
  deps: SendToDeviceDeps,
  job: FallbackJob,
  device: IosDevice,
  signals: SendSignals,
): Promise<DeviceResult> {
  const details = { device: device.id, token: `…${tokenEndOf(device)}` };
  const route = deps.routes.find(device.topic, device.environment);
  if (route === undefined) {
    deps.metrics.noApp(device.environment);
    const reason = `nothing is configured for ${device.topic} in ${device.environment}`;
    return { kind: "gone", reason, details };
  }
  const built = buildApnsRequest({ message: job, device });
  if (!built.ok) return { kind: "failed", reason: built.reason, details };
  const heldBack = holdBack(deps, route, device);
  if (heldBack !== undefined) return { ...heldBack, details };
  const { request } = built;
  const apnsId = request.headers["apns-id"] ?? "";
  const span = beginSpan(deps, job, device, apnsId);
  const startedMs = deps.clock.monotonicMs();
  let result: ApnsResult;
  try {
    result = await send(route, request, signals);
  } catch (error) {
    span?.fail("this process ends");
    span?.end();
    throw error;
  }
  const verdict = result.kind === "answered" ? judgeApnsAnswer(result) : undefined;
  deps.metrics.sent(device.environment, result, verdict, deps.clock.monotonicMs() - startedMs);
  endSpan(span, result, verdict);
  return {
    ...apply(deps, { route, userId: job.userId, device }, result, verdict),
    details: { ...details, apnsId },
  };
}

/**
 * One request to Apple. The span names neither the device nor its token; Apple can find the request by its `apns-id`.
 */
function beginSpan(
  { tracing }: SendToDeviceDeps,
  { id, trace }: FallbackJob,
  { topic, environment }: IosDevice,
  apnsId: string,
): Span | undefined {
  if (trace === undefined) return undefined;
  return tracing.beginSpan("send apns", trace, {
    kind: "client",
    attributes: {
      "messaging.message.id": id,
      "petrel.channel": "apns",
      "petrel.apns.id": apnsId,
      "petrel.apns.topic": topic,
      "petrel.apns.environment": environment,
    },
  });
}

function endSpan(span: Span | undefined, result: ApnsResult, verdict: ApnsVerdict | undefined): void {
  if (span === undefined) return;
  span.set({ "petrel.outcome": verdict?.kind ?? result.kind });
  if (result.kind !== "answered") span.fail(result.why);
  else {
    const { status, reason } = result;
    span.set({ "http.request.method": "POST", "http.response.status_code": status, "error.type": reason });
    if (status !== 200) span.fail(reason ?? String(status));
  }
  span.end();
}

/** @returns undefined if it may be sent */
function holdBack(
  { breaker }: SendToDeviceDeps,
  { gate }: ApnsRoute,
  device: IosDevice,
): DeviceOutcome | undefined {
  // Ask the breaker first: a device that it refuses must not use up the gate's only probe.
  const admission = breaker.admit(device, device);
  if (!admission.admitted) {
    const { why, afterMs } = admission;
    return why === "suspect"
      ? { kind: "doubted", reason: "Apple has just called its token bad", afterMs }
      : { kind: "held", reason: `too many tokens of ${device.topic} were called bad: paused`, afterMs };
  }
  const passage = gate.pass(device.topic);
  switch (passage.passage) {
    case "open":
      return undefined;
    case "halted":
      return { kind: "halted", reason: `not sent: Apple has answered ${passage.reason}` };
    case "resting":
      return { kind: "held", reason: "Apple wants no new provider token yet", afterMs: passage.forMs };
  }
}

async function send(
  { pool }: ApnsRoute,
  request: Parameters<ApnsRoute["pool"]["send"]>[0],
  { ending, either }: SendSignals,
): Promise<ApnsResult> {
  try {
    return await pool.send(request, either);
  } catch (error) {
    if (ending.aborted) throw error;
    return { kind: "unanswered", why: either.aborted ? "no answer in time" : describeError(error) };
  }
}

interface Sent {
  readonly route: ApnsRoute;
  readonly userId: string;
  readonly device: IosDevice;
}

function apply(
  deps: SendToDeviceDeps,
  { route, userId, device }: Sent,
  result: ApnsResult,
  verdict: ApnsVerdict | undefined,
): DeviceOutcome {
  const { breaker, invalidations, clock, quarantineMs } = deps;
  if (verdict === undefined || result.kind !== "answered") {
    const reason = result.kind === "answered" ? "no verdict" : result.why;
    return { kind: "retry", reason, afterMs: undefined };
  }
  if (["forget", "quarantine", "failed"].includes(verdict.kind)) route.gate.accept(device.topic);
  switch (verdict.kind) {
    case "taken":
      route.gate.take(device.topic);
      breaker.known(device, device.id);
      touch(deps, userId, device.id);
      return { kind: "taken" };
    case "forget": {
      const { reason, timestampMs } = verdict;
      const mayForget = breaker.mayForget(device);
      breaker.known(device, device.id);
      if (mayForget) invalidations.forget(invalidationOf(userId, device, reason, timestampMs));
      return { kind: "gone", reason };
    }
    case "quarantine": {
      const invalidation = invalidationOf(userId, device, verdict.reason, undefined);
      const afterMs = breaker.suspect(
        { ...device, userId, deviceId: device.id, isTaken: device.isTaken === true },
        () => invalidations.quarantine(invalidation, clock.wallMs() + quarantineMs),
      );
      return { kind: "doubted", reason: verdict.reason, afterMs };
    }
    case "halt":
      if (route.gate.halt(device.topic, verdict.reason) === "topic") {
        const { credential, environment } = route;
        deps.logger.warn(
          { credential, environment, topic: device.topic, reason: verdict.reason },
          "APNs refuses this key or certificate for one topic but accepts it for others: nothing is sent to that topic",
        );
      }
      return { kind: "halted", reason: verdict.reason };
    case "renew-token":
      return {
        kind: "retry",
        reason: "ExpiredProviderToken, and a new one is of no use: whose clock is wrong?",
        afterMs: undefined,
      };
    case "pause-token":
      route.gate.rest(verdict.afterMs);
      return { kind: "held", reason: "TooManyProviderTokenUpdates", afterMs: verdict.afterMs };
    case "retry":
      return { kind: "retry", reason: verdict.reason, afterMs: verdict.afterMs };
    case "failed":
      return { kind: "failed", reason: verdict.reason };
  }
}

function invalidationOf(
  userId: string,
  device: IosDevice,
  reason: Invalidation["reason"],
  providerTimestampMs: number | undefined,
): Invalidation {
  const { id: deviceId, topic, environment, registeredAtMs } = device;
  return {
    userId,
    deviceId,
    tokenEnd: tokenEndOf(device),
    topic,
    environment,
    reason,
    registeredAtMs,
    ...(providerTimestampMs === undefined ? {} : { providerTimestampMs }),
  };
}

/** Fire and forget; `lastSeenAt` may lag. */
function touch({ devices, clock, logger }: SendToDeviceDeps, userId: string, deviceId: string): void {
  devices.touch(userId, deviceId, clock.wallMs()).catch((error: unknown) => {
    logger.debug({ reason: describeError(error) }, "device's last-seen time not updated");
  });
}
