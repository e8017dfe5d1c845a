// Why a socket was closed, as the client reads it (RFC 6455 section 7.4; 4000-4999 are ours). Clients decide by the
// code alone; clients/browser/src/connection/close-policy defines what each one makes them do.

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
