// Probes of links -> here: whether the other side is there.
// Guarantees: an error from Redis is an answer too. A server with a full disk refuses even PING (MISCONF); opening the
// link anew for that would miss what is published meanwhile.

export function isAnswer(error: unknown): boolean {
  return error instanceof Error && error.name === "ReplyError";
}
