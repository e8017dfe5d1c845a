// dispatch/fall-back -> fallback/settle-fallback.lua -> here -> collect/describe-message: each attempt to reach a user
// by a fallback channel.
// Guarantees: writer and reader agree; an unreadable note is skipped, never an error.

/** How a channel answered one attempt. */
export const attemptOutcomes = ["taken", "no-device", "superseded", "retry", "failed"] as const;
export type AttemptOutcome = (typeof attemptOutcomes)[number];

/** As a channel reports it; the store adds the time. */
export interface AttemptNote {
  readonly channel: string;
  readonly outcome: AttemptOutcome;
  /** Why, in the provider's words or ours; absent for `taken`. */
  readonly reason?: string;
  /** Other details worth showing, such as the provider's request id. Never a secret, never a whole token. */
  readonly details?: Readonly<Record<string, string>>;
}

export interface FallbackAttempt extends AttemptNote {
  /** ms since 1970 by Redis' clock. */
  readonly atMs: number;
}

const MAX_REASON_CHARACTERS = 500;

/** Needed because a provider may answer with a whole page. */
export function shortenReason(reason: string): string {
  return reason.length <= MAX_REASON_CHARACTERS ? reason : `${reason.slice(0, MAX_REASON_CHARACTERS - 1)}…`;
}

/** JSON text of a non-empty object, see fallback/settle-fallback.lua. */
export function encodeAttempt({ channel, outcome, reason, details }: AttemptNote): string {
  return JSON.stringify({
    event: "attempt",
    channel,
    outcome,
    reason: reason === undefined ? undefined : shortenReason(reason),
    details,
  });
}

/** @returns undefined if the text is not ours */
export function decodeAttempt(text: string): FallbackAttempt | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { at, channel, outcome: word, reason, details } = value as Readonly<Record<string, unknown>>;
  const outcome = attemptOutcomes.find((known) => known === word);
  if (typeof at !== "number" || typeof channel !== "string" || outcome === undefined) return undefined;
  return {
    atMs: at,
    channel,
    outcome,
    ...(typeof reason === "string" ? { reason } : {}),
    ...(typeof details === "object" && details !== null
      ? { details: details as Readonly<Record<string, string>> }
      : {}),
  };
}
