// dispatch/fall-back -> here: why a message failed for good.
// Guarantees: a cause is never renamed or reused, because it stands in key names and in the API.

export const deadLetterCauses = [
  /** The provider refuses the message itself, and always would. */
  "rejected",
  /** Every attempt failed for a reason that could have passed. */
  "attempts-exhausted",
  /** The channel itself is misconfigured: its key, its certificate, its address. */
  "misconfigured",
  /** The inbox was full when a scheduled message came due. */
  "inbox-full",
] as const;

export type DeadLetterCause = (typeof deadLetterCauses)[number];

export function isDeadLetterCause(word: string): word is DeadLetterCause {
  return deadLetterCauses.some((cause) => cause === word);
}
