// dispatch/channels -> here: JSON text whose strings are Unicode, as phones and receivers need it.
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
