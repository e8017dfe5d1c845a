// Probes of links -> here: whether the other side is alive.
// Guarantees: an error from Redis counts as an answer. A server with a full disk refuses even PING (MISCONF); reopening
// the link because of that would miss what is published meanwhile.

export function isAnswer(error: unknown): boolean {
  return error instanceof Error && error.name === "ReplyError";
}
