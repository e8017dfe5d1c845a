// dispatch/channels -> here: JSON text whose strings are valid Unicode, as phones and receivers need it.
// Guarantees: half a surrogate pair (half an emoji, cut by a length limit) becomes U+FFFD, as in every UTF-8 encoder.
// Everything else is unchanged.

/** A quick check: nearly every text passes it. */
const MAY_BE_HALF = /\\u[dD][89a-fA-F]/;
/** An escape, with a surrogate's in full. `JSON.stringify` only escapes lone surrogates. */
const ESCAPE = /\\(ud[89a-f][0-9a-f]{2}|.)/g;

/** @param text as from `JSON.stringify` */
export function makeWellFormed(text: string): string {
  if (!MAY_BE_HALF.test(text)) return text;
  return text.replace(ESCAPE, (escape, what: string) => (what.length > 1 ? "\ufffd" : escape));
}
