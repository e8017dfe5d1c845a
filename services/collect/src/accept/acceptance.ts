// accept-with-retry -> here -> prepare-messages: what became of one message that was to be stored.
// Guarantees: every outcome is one of these; what none of them says has not happened.
import type { PetrelError } from "@petrel/shared/kernel/errors";

/** What became of one message. */
export type Acceptance =
  | { readonly outcome: "accepted"; readonly duplicate: boolean }
  /** Its idempotency key was used before, with other content. */
  | { readonly outcome: "mismatch" }
  | { readonly outcome: "inbox-full" }
  /** Its user was sent as much as it may be, for now. */
  | { readonly outcome: "limited"; readonly retryAfterMs: number }
  /** It may be stored or not. */
  | { readonly outcome: "unavailable"; readonly error: PetrelError };
