// Every error code that leaves Petrel, over HTTP or in an `error` frame.
// Guarantees: a code is never reused or renamed; docs/send/errors.md lists exactly these (a test checks it).

export interface ErrorDefinition {
  /** HTTP status of an answer with this code; undefined if it appears on sockets only, or as a message's `reason`. */
  readonly status?: 400 | 401 | 403 | 404 | 408 | 409 | 413 | 415 | 422 | 426 | 429 | 500 | 501 | 503;
  /** It is a message's `reason`, never an answer. */
  readonly isReason?: true;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;
  readonly meaning: string;
}

export const errorCatalogue = {
  PETREL_INVALID_REQUEST: {
    status: 400,
    retryable: false,
    meaning: "The request does not fit its schema; details name the field.",
  },
  PETREL_INVALID_JSON: {
    status: 400,
    retryable: false,
    meaning: "The body is not JSON (or not valid gzip).",
  },
  PETREL_UNAUTHENTICATED: {
    status: 401,
    retryable: false,
    meaning: "No credential, or an unknown one.",
  },
  PETREL_TOKEN_INVALID: {
    status: 401,
    retryable: false,
    meaning: "The token's signature, algorithm, issuer, audience or form is wrong.",
  },
  PETREL_TOKEN_EXPIRED: {
    status: 401,
    retryable: false,
    meaning: "The token has expired: get a fresh one.",
  },
  PETREL_TOKEN_REVOKED: {
    status: 401,
    retryable: false,
    meaning: "The token, its session, or all tokens of its user were revoked: sign in again (4403).",
  },
  PETREL_REFRESH_REUSED: {
    status: 401,
    retryable: false,
    meaning: "A spent refresh token was used again: its session is revoked, for thief and owner alike.",
  },
  PETREL_TICKET_INVALID: {
    status: 401,
    retryable: false,
    meaning: "The ticket is unknown, has expired, or was used before (4401).",
  },
  PETREL_SIGNATURE_REQUIRED: {
    status: 401,
    retryable: false,
    meaning: "This key's requests must be signed; a secret in Authorization is refused.",
  },
  PETREL_SIGNATURE_INVALID: {
    status: 401,
    retryable: false,
    meaning: "The signature's form is wrong, or it does not fit the request as it arrived.",
  },
  PETREL_SIGNATURE_EXPIRED: {
    status: 401,
    retryable: false,
    meaning: "The signature's timestamp is more than 300 seconds from the server's time.",
  },
  PETREL_SIGNATURE_REPLAYED: {
    status: 401,
    retryable: false,
    meaning: "A request with this petrel-id came before: each works once.",
  },
  PETREL_KEY_SUSPENDED: {
    status: 403,
    retryable: false,
    meaning: "An operator has suspended this key: nothing is wrong with the request.",
  },
  PETREL_FORBIDDEN: {
    status: 403,
    retryable: false,
    meaning: "The credential lacks the scope this needs.",
  },
  PETREL_ORIGIN_REFUSED: {
    status: 403,
    retryable: false,
    meaning: "The page's origin is not allowed.",
  },
  PETREL_NOT_FOUND: { status: 404, retryable: false, meaning: "There is no such resource." },
  PETREL_REQUEST_TIMEOUT: {
    status: 408,
    retryable: true,
    meaning: "The request's body did not arrive in time.",
  },
  PETREL_CONFLICT: {
    status: 409,
    retryable: false,
    meaning: "The resource's state does not allow this.",
  },
  PETREL_INBOX_FULL: {
    status: 409,
    retryable: true,
    meaning:
      "The user has the maximum number of unacknowledged messages, or the recipient of scheduled ones; nothing was stored.",
  },
  PETREL_TOO_MANY_TOPICS: {
    status: 409,
    retryable: false,
    meaning: "The user or the connection has the maximum number of topics; nothing was changed.",
  },
  PETREL_COLLAPSED: {
    isReason: true,
    retryable: false,
    meaning: "A message's reason: a newer one with its collapse key took its place, and it ended `expired`.",
  },
  PETREL_PAYLOAD_TOO_LARGE: {
    status: 413,
    retryable: false,
    meaning: "The body or its `data` is too large.",
  },
  PETREL_UNSUPPORTED_MEDIA_TYPE: {
    status: 415,
    retryable: false,
    meaning: "The body's type or encoding is not supported.",
  },
  PETREL_IDEMPOTENCY_MISMATCH: {
    status: 422,
    retryable: false,
    meaning: "The idempotency key was used before with different content.",
  },
  PETREL_UPGRADE_REQUIRED: {
    status: 426,
    retryable: false,
    meaning: "This address speaks WebSocket version 13 only.",
  },
  PETREL_RATE_LIMITED: {
    status: 429,
    retryable: true,
    meaning: "Too many, too fast: wait for Retry-After.",
  },
  PETREL_INTERNAL: {
    status: 500,
    retryable: true,
    meaning: "A fault in Petrel; the log has the cause.",
  },
  PETREL_NOT_IMPLEMENTED: {
    status: 501,
    retryable: false,
    meaning: "Part of the contract, not built yet; nothing was changed.",
  },
  PETREL_UNAVAILABLE: {
    status: 503,
    retryable: true,
    meaning: "Not now: a part that this needs does not answer, or is full.",
  },
  PETREL_BAD_FRAME: {
    retryable: false,
    meaning: "A frame is not JSON, of an unknown type, or lacks a field (4400).",
  },
  PETREL_BINARY_FRAME: {
    retryable: false,
    meaning: "Frames are text; this one was binary (1003).",
  },
  PETREL_ACK_BEYOND_SENT: {
    retryable: false,
    meaning: "An ack names a seq that this connection was never sent (4400).",
  },
  PETREL_AUTH_TIMEOUT: {
    retryable: true,
    meaning: "No credential arrived within five seconds (4401).",
  },
  PETREL_USER_CHANGED: { retryable: false, meaning: "A fresh token is for another user (4403)." },
  PETREL_DISCONNECTED: {
    retryable: false,
    meaning: "An operator closed this user's connections (4403).",
  },
  PETREL_USER_ERASED: {
    retryable: false,
    meaning: "An operator erased this user, connections included (4403).",
  },
  PETREL_TOO_SLOW: {
    retryable: true,
    meaning: "The client read nothing for too long while data waited (4408).",
  },
  PETREL_CONNECTION_REPLACED: {
    retryable: false,
    meaning: "A newer connection of this user replaced this one (4409).",
  },
  PETREL_SIGNED_IN_ELSEWHERE: {
    retryable: false,
    meaning: "The user signed in elsewhere, and the session policy allows one connection (4409).",
  },
  PETREL_TOO_MANY_CONNECTIONS: {
    status: 429,
    retryable: true,
    meaning: "The user has the maximum number of connections (4429).",
  },
  PETREL_EPOCH_CHANGED: {
    retryable: true,
    meaning: "The user's sequence got a new epoch: reconnect to see it (1012).",
  },
  PETREL_HISTORY_TRIMMED: {
    retryable: true,
    meaning:
      "This device was too far behind another device of its user, which had acknowledged more: reconnect to get what is left (1012).",
  },
  PETREL_REBALANCING: {
    retryable: true,
    meaning: "Other nodes have fewer clients: reconnect, to wherever the balancer sends you (1012).",
  },
  PETREL_SHUTTING_DOWN: {
    retryable: true,
    meaning: "The node is stopping: reconnect to another (1012).",
  },
} as const satisfies Record<string, ErrorDefinition>;

export type ErrorCode = keyof typeof errorCatalogue;

/** The definition of a code, widened so that every code has `status`. */
export function errorDefinition(code: ErrorCode): ErrorDefinition {
  return errorCatalogue[code];
}
