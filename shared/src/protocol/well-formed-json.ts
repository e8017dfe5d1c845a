// kernel/read-json-body, dispatch/channels -> here: JSON text whose strings are Unicode.
// Guarantees: half a surrogate pair (half an emoji, as a text cut by length leaves it) becomes U+FFFD, which is what
// every UTF-8 encoder makes of it; all else stays as it is.

/** Finds at once that nothing is to be done, as nearly always. */
const MAY_BE_HALF = /\\u[dD][89a-fA-F]/;
/** An escape; that of a surrogate whole. `JSON.stringify` escapes only those that stand alone. */
const ESCAPE = /\\(ud[89a-f][0-9a-f]{2}|.)/g;

/** @param text as `JSON.stringify` makes it */
export function makeWellFormed(text: string): string {
  if (!MAY_BE_HALF.test(text)) return text;
  return text.replace(ESCAPE, (escape, what: string) => (what.length > 1 ? "\ufffd" : escape));
}

/**
 * @param text any JSON text
 * @param value what it says
 * @returns the value, with well-formed strings and names
 */
export function wellFormedValue(text: string, value: unknown): unknown {
  if (!MAY_BE_HALF.test(text)) return value;
  const plain = JSON.stringify(value);
  const wellFormed = makeWellFormed(plain);
  return wellFormed === plain ? value : (JSON.parse(wellFormed) as unknown);
}
