// accept-with-retry -> here -> prepare-messages: what became of one message that was to be stored.
// The complete list of outcomes.
import type { PetrelError } from "@petrel/shared/kernel/errors";

/** What became of one message. */
export type Acceptance =
  | { readonly outcome: "accepted"; readonly duplicate: boolean }
  /** Its idempotency key was used before, with other content. */
  | { readonly outcome: "mismatch" }
  | { readonly outcome: "inbox-full" }
  /** As many messages wait for their time as may wait for its recipient. */
  | { readonly outcome: "schedules-full" }
  /** Its user has reached the limit of messages, for now. */
  | { readonly outcome: "limited"; readonly retryAfterMs: number }
  /** It may or may not be stored. */
  | { readonly outcome: "unavailable"; readonly error: PetrelError };
