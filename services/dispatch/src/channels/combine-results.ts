// channels/apns/apns-channel -> here: one answer for a message, from the results of its devices.
// Guarantees: a message that one phone has never fails because of another; while it may still reach one and there is time,
// it is tried again.
import type { BackoffOptions } from "@petrel/shared/kernel/backoff";
import type { AttemptNote } from "@petrel/shared/protocol/fallback/fallback-attempt";
import type { ChannelAnswer } from "./fallback-channel.js";

export type DeviceOutcome =
  /** The provider has it. */
  | { readonly kind: "taken" }
  /** Not a way to this user: forgotten, set aside, or an app that is not configured. */
  | { readonly kind: "gone"; readonly reason: string }
  /** The token was called bad: to be looked at again, see channels/apns/device-breaker. */
  | { readonly kind: "doubted"; readonly reason: string; readonly afterMs: number }
  /** Not tried now; whoever holds it back does so again where it comes too early. */
  | { readonly kind: "held"; readonly reason: string; readonly afterMs: number }
  /** A fault that may pass; `afterMs` is the provider's wish. */
  | { readonly kind: "retry"; readonly reason: string; readonly afterMs: number | undefined }
  /** The key or the certificate is not good. */
  | { readonly kind: "halted"; readonly reason: string }
  /** The message would be refused every time. */
  | { readonly kind: "failed"; readonly reason: string };

export type DeviceResult = DeviceOutcome & {
  readonly details?: Readonly<Record<string, string>>;
};

export interface NextAttempt {
  /** 1 for the first. */
  readonly attempt: number;
  readonly maxAttempts: number;
  /** As fall-back waits between attempts. */
  readonly retry: BackoffOptions;
  readonly nowMs: number;
  readonly expiresAtMs: number;
}

/**
 * @param results of the devices that were tried, or would have been, now
 * @param takenBefore whether an earlier attempt has reached a device
 */
export function combineResults(
  results: readonly DeviceResult[],
  takenBefore: boolean,
  next: NextAttempt,
): ChannelAnswer {
  const notes = results.map(noteOf);
  const of = <I extends DeviceOutcome["kind"]>(kind: I) =>
    results.filter((result): result is Extract<DeviceResult, { kind: I }> => result.kind === kind);
  const again = retryAnswer(of("retry"), of("held"));
  if (takenBefore || of("taken").length > 0) {
    // A doubted token is not waited for: most likely the provider is right.
    if (again === undefined || !isTimeForMore(again.afterMs, next)) return { outcome: "taken", notes };
    return { ...again, notes };
  }
  if (again !== undefined) return { ...again, notes };
  const [doubted] = of("doubted");
  if (doubted !== undefined) {
    const afterMs = Math.max(...of("doubted").map((one) => one.afterMs));
    return { outcome: "retry", reason: doubted.reason, afterMs, notes };
  }
  // Before a fault of the message: once the credential is mended, the message may turn out to be good.
  const [halted] = of("halted");
  if (halted !== undefined)
    return { outcome: "failed", cause: "misconfigured", reason: halted.reason, notes };
  const [failed] = of("failed");
  if (failed !== undefined) return { outcome: "failed", cause: "rejected", reason: failed.reason, notes };
  return { outcome: "no-device", notes };
}

interface RetryAnswer {
  readonly outcome: "retry";
  readonly reason: string;
  readonly afterMs: number;
}

function retryAnswer(
  retries: readonly { readonly reason: string; readonly afterMs: number | undefined }[],
  held: readonly { readonly reason: string; readonly afterMs: number }[],
): RetryAnswer | undefined {
  const [retry] = retries;
  if (retry !== undefined) {
    const afterMs = Math.max(...retries.map((one) => one.afterMs ?? 0));
    return { outcome: "retry", reason: retry.reason, afterMs };
  }
  const [first] = held;
  if (first === undefined) return undefined;
  return { outcome: "retry", reason: first.reason, afterMs: Math.min(...held.map(({ afterMs }) => afterMs)) };
}

/** Whether another attempt certainly comes before the message's time, and the attempts allowed, are over. */
function isTimeForMore(
  afterMs: number,
  { attempt, maxAttempts, retry, nowMs, expiresAtMs }: NextAttempt,
): boolean {
  if (attempt >= maxAttempts) return false;
  const jitterMs = Math.min(retry.capMs, retry.baseMs * 2 ** Math.min(attempt - 1, 30));
  return nowMs + Math.max(afterMs, jitterMs) < expiresAtMs;
}

const outcomes = {
  taken: "taken",
  gone: "no-device",
  doubted: "retry",
  held: "retry",
  retry: "retry",
  halted: "failed",
  failed: "failed",
} as const;

function noteOf(result: DeviceResult): Omit<AttemptNote, "channel"> {
  return {
    outcome: outcomes[result.kind],
    ...("reason" in result ? { reason: result.reason } : {}),
    ...(result.details === undefined ? {} : { details: result.details }),
  };
}
