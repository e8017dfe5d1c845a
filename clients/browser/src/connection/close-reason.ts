// Turns the application's reason for closing into one that a close frame can carry.
// Guarantees: at most 123 bytes of UTF-8 (RFC 6455 section 5.5), in whole characters. A socket refuses anything longer
// and would stay open.
const MAX_BYTES = 123;
const DEFAULT_REASON = "closed by the application";

/** @param given a text, or an error, which gives its message; anything else, such as a click event, gives nothing */
export function closeReason(given: unknown): string {
  const text: unknown = given instanceof Error ? given.message : given;
  const reason = typeof text === "string" ? text : DEFAULT_REASON;
  const { read } = new TextEncoder().encodeInto(reason, new Uint8Array(MAX_BYTES));
  return reason.slice(0, read);
}
