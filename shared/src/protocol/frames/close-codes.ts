// Why a socket was closed, as the client reads it (RFC 6455 section 7.4; 4000-4999 are ours).
// Guarantees: each code maps to one action, and clients decide by the code alone.

export const closeCodes = {
  normal: 1000,
  goingAway: 1001,
  protocolError: 1002,
  unsupportedData: 1003,
  abnormal: 1006,
  invalidPayload: 1007,
  messageTooBig: 1009,
  internalError: 1011,
  serviceRestart: 1012,
  tryAgainLater: 1013,
  badFrame: 4400,
  tokenBad: 4401,
  revoked: 4403,
  tooSlow: 4408,
  replaced: 4409,
  tooMany: 4429,
} as const;

export type CloseCode = (typeof closeCodes)[keyof typeof closeCodes];

/** What a client does next. */
export type CloseAction = "resume" | "refresh" | "backoff" | "stop";

const actions: ReadonlyMap<number, CloseAction> = new Map<number, CloseAction>([
  [1001, "resume"],
  [1006, "resume"],
  [1011, "resume"],
  [1012, "resume"],
  [1013, "resume"],
  [4408, "resume"],
  [4401, "refresh"],
  [1000, "stop"],
  [1002, "stop"],
  [1003, "stop"],
  [1007, "stop"],
  [1009, "stop"],
  [4400, "stop"],
  [4403, "stop"],
  [4409, "stop"],
]);

/** Codes that are not listed (4429 among them) mean: back off longer. */
export function closeAction(code: number): CloseAction {
  return actions.get(code) ?? "backoff";
}
