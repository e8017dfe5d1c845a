// dispatch/channels -> here: JSON text whose strings are valid Unicode, as phones and receivers need it.
// Guarantees: half a surrogate pair (half an emoji, after a cut by length) becomes U+FFFD, as in every UTF-8 encoder;
// everything else stays as it is.

/** A quick check: nearly always there is nothing to do. */
const MAY_BE_HALF = /\\u[dD][89a-fA-F]/;
/** An escape, with a surrogate's in full. `JSON.stringify` only escapes lone ones. */
const ESCAPE = /\\(ud[89a-f][0-9a-f]{2}|.)/g;

/** @param text as from `JSON.stringify` */
export function makeWellFormed(text: string): string {
  if (!MAY_BE_HALF.test(text)) return text;
  return text.replace(ESCAPE, (escape, what: string) => (what.length > 1 ? "\ufffd" : escape));
}
