// dispatch/fall-back -> fallback/settle-fallback.lua -> here -> collect/explain-message: a message that ended between
// its offer to the fallback and the first push.
// Guarantees: writer and reader agree. The note stands among a message's attempts; a reader that only knows attempts
// skips it.

/** Ends that can come before a push, and so explain its absence. */
export const skipStates = ["delivered", "expired", "cancelled"] as const;
export type SkipState = (typeof skipStates)[number];

export interface SkipNote {
  /** The message's state at that time. */
  readonly state: SkipState;
  /** The channel that was next; absent if none was chosen yet. */
  readonly channel?: string | undefined;
}

export interface FallbackSkip extends SkipNote {
  /** ms since 1970 by Redis' clock. */
  readonly atMs: number;
}

/** JSON text of a non-empty object, see fallback/settle-fallback.lua. */
export function encodeSkip({ state, channel }: SkipNote): string {
  return JSON.stringify({ event: "not-sent", state, channel });
}

/** @returns undefined if the text is an attempt, or not ours */
export function decodeSkip(text: string): FallbackSkip | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { at, event, state: word, channel } = value as Readonly<Record<string, unknown>>;
  const state = skipStates.find((known) => known === word);
  if (event !== "not-sent" || typeof at !== "number" || state === undefined) return undefined;
  return { atMs: at, state, ...(typeof channel === "string" ? { channel } : {}) };
}
