// dispatch/fall-back -> here: why a message failed for good.
// Guarantees: a cause is never renamed or reused: it stands in key names and in the API.

export const deadLetterCauses = [
  /** The provider refuses the message itself, and would every time. */
  "rejected",
  /** Every attempt failed in a way that might have passed. */
  "attempts-exhausted",
  /** The channel itself is misconfigured: its key, its certificate, its address. */
  "misconfigured",
  /** The inbox was full when the time of a scheduled message came. */
  "inbox-full",
] as const;

export type DeadLetterCause = (typeof deadLetterCauses)[number];

export function isDeadLetterCause(word: string): word is DeadLetterCause {
  return deadLetterCauses.some((cause) => cause === word);
}
