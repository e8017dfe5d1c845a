// Probes of links -> here: whether the other side is there.
// Guarantees: an error that Redis sent is an answer: a server whose disk is full refuses even PING (MISCONF), and a link
// that is opened anew for that misses what was published meanwhile.

export function isAnswer(error: unknown): boolean {
  return error instanceof Error && error.name === "ReplyError";
}
