// accept-with-retry -> here -> prepare-messages: the outcome for one message that was to be stored. The complete list.
import type { PetrelError } from "@petrel/shared/kernel/errors";

/** The outcome for one message. */
export type Acceptance =
  | { readonly outcome: "accepted"; readonly duplicate: boolean }
  /** Its idempotency key was used before, with other content. */
  | { readonly outcome: "mismatch" }
  | { readonly outcome: "inbox-full" }
  /** As many scheduled messages as allowed are waiting for its recipient. */
  | { readonly outcome: "schedules-full" }
  /** Its user has reached the message limit for now. */
  | { readonly outcome: "limited"; readonly retryAfterMs: number }
  /** It may or may not be stored. */
  | { readonly outcome: "unavailable"; readonly error: PetrelError };
