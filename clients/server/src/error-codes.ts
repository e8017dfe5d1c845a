// petrel -> here: the codes that a service may answer; docs/send/errors.md explains each.
// Guarantees: a test holds them to the one catalogue.
import type { petrelErrorCodes } from "./petrel-error.js";

export const serverErrorCodes = [
  "PETREL_INVALID_REQUEST",
  "PETREL_INVALID_JSON",
  "PETREL_UNAUTHENTICATED",
  "PETREL_TOKEN_INVALID",
  "PETREL_TOKEN_EXPIRED",
  "PETREL_TOKEN_REVOKED",
  "PETREL_REFRESH_REUSED",
  "PETREL_TICKET_INVALID",
  "PETREL_SIGNATURE_REQUIRED",
  "PETREL_SIGNATURE_INVALID",
  "PETREL_SIGNATURE_EXPIRED",
  "PETREL_SIGNATURE_REPLAYED",
  "PETREL_KEY_SUSPENDED",
  "PETREL_FORBIDDEN",
  "PETREL_ORIGIN_REFUSED",
  "PETREL_NOT_FOUND",
  "PETREL_REQUEST_TIMEOUT",
  "PETREL_CONFLICT",
  "PETREL_INBOX_FULL",
  "PETREL_TOO_MANY_TOPICS",
  "PETREL_PAYLOAD_TOO_LARGE",
  "PETREL_UNSUPPORTED_MEDIA_TYPE",
  "PETREL_IDEMPOTENCY_MISMATCH",
  "PETREL_UPGRADE_REQUIRED",
  "PETREL_RATE_LIMITED",
  "PETREL_INTERNAL",
  "PETREL_NOT_IMPLEMENTED",
  "PETREL_UNAVAILABLE",
  "PETREL_TOO_MANY_CONNECTIONS",
] as const;

/** For a `switch`: a newer server may have more. */
export type PetrelErrorCode =
  | (typeof serverErrorCodes)[number]
  | (typeof petrelErrorCodes)[keyof typeof petrelErrorCodes];
