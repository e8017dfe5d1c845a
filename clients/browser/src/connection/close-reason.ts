// What an application says when it closes, in the form a close frame can carry.
// Guarantees: at most 123 bytes of UTF-8 (RFC 6455 section 5.5) and whole characters, whatever was passed: a socket
// refuses anything longer, and would stay open.
const MAX_BYTES = 123;
const DEFAULT_REASON = "closed by the application";

/** @param given a text; an error stands for its message, and anything else, such as a click's event, for nothing */
export function closeReason(given: unknown): string {
  const text: unknown = given instanceof Error ? given.message : given;
  const reason = typeof text === "string" ? text : DEFAULT_REASON;
  const { read } = new TextEncoder().encodeInto(reason, new Uint8Array(MAX_BYTES));
  return reason.slice(0, read);
}
