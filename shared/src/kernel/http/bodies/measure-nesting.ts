// read-json-body -> here: measures how deep JSON text is nested, from its bytes, before anything is built.
// Guarantees: linear in the bytes; brackets inside strings do not count.

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** In ASCII, `{` and `[`, and `}` and `]`, differ only in this bit. */
const CURLY_BIT = 0x20;
const OPENING = 0x5b;
const CLOSING = 0x5d;

/**
 * Parsing megabytes of `[` takes seconds, and serializing the result overflows the stack.
 * @param text UTF-8 JSON, valid or not
 */
export function isNestedDeeperThan(text: Uint8Array, maxDepth: number): boolean {
  // Each level takes an opening and a closing byte, so most bodies are too short to check.
  if (text.length <= maxDepth * 2) return false;
  let depth = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const byte = text[i] ?? 0;
    if (inString) {
      if (byte === BACKSLASH) i++;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) {
      inString = true;
    } else if ((byte & ~CURLY_BIT) === OPENING) {
      if (++depth > maxDepth) return true;
    } else if ((byte & ~CURLY_BIT) === CLOSING) {
      depth--;
    }
  }
  return false;
}
