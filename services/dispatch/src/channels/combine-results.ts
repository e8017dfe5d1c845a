// channels/apns/apns-channel -> here: one answer for a message, from the results of its devices.
// Guarantees: a message that one phone has never fails because of another. While it may still reach a device and there
// is time, it is tried again.
import type { BackoffOptions } from "@petrel/shared/kernel/backoff";
import type { AttemptNote } from "@petrel/shared/protocol/fallback/fallback-attempt";
import type { ChannelAnswer } from "./fallback-channel.js";

export type DeviceOutcome =
  /** The provider has accepted it. */
  | { readonly kind: "taken" }
  /** The user cannot be reached this way: the device is forgotten or quarantined, or its app is not configured. */
  | { readonly kind: "gone"; readonly reason: string }
  /** The token was called bad; check it again later, see channels/apns/device-breaker. */
  | { readonly kind: "doubted"; readonly reason: string; readonly afterMs: number }
  /** Not tried now. If it comes back too early, whoever held it back does so again. */
  | { readonly kind: "held"; readonly reason: string; readonly afterMs: number }
  /** A fault that may pass; `afterMs` is the provider's Retry-After. */
  | { readonly kind: "retry"; readonly reason: string; readonly afterMs: number | undefined }
  /** The key or certificate is invalid. */
  | { readonly kind: "halted"; readonly reason: string }
  /** The message would always be refused. */
  | { readonly kind: "failed"; readonly reason: string };

export type DeviceResult = DeviceOutcome & {
  readonly details?: Readonly<Record<string, string>>;
};

export interface NextAttempt {
  /** 1 for the first. */
  readonly attempt: number;
  readonly maxAttempts: number;
  /** The same backoff as fall-back between attempts. */
  readonly retry: BackoffOptions;
  readonly nowMs: number;
  readonly expiresAtMs: number;
}

/**
 * @param results of the devices that were tried now, or would have been
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
    // Do not wait for a doubted token: most likely the provider is right.
    if (again === undefined || !isTimeForMore(again.afterMs, next)) return { outcome: "taken", notes };
    return { ...again, notes };
  }
  if (again !== undefined) return { ...again, notes };
  const [doubted] = of("doubted");
  if (doubted !== undefined) {
    const afterMs = Math.max(...of("doubted").map((one) => one.afterMs));
    return { outcome: "retry", reason: doubted.reason, afterMs, notes };
  }
  // Ranks before a fault of the message: with a working credential the message may turn out to be fine.
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

/** Whether another attempt certainly fits into the message's TTL and the number of attempts. */
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
