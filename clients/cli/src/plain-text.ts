// run-petrel -> here -> the terminal: strips control sequences from other people's text.
// Guarantees: a line stays one line, and cannot move the cursor or turn the text's direction. JSON keeps its meaning.
import type { Terminal } from "./terminal.js";

/**
 * C0 except the tab, DEL, C1 (a terminal may read U+009B as the start of an escape sequence), line separators, and
 * characters that turn the direction of the text around them.
 */
const commands = /(?!\t)[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu;

/** Escaped as JSON does it: in a line of JSON, such a character can only be inside a string. */
export function plainText(line: string): string {
  return line.replace(commands, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

export function plainTerminal(terminal: Terminal): Terminal {
  return {
    ...terminal,
    print: (line) => terminal.print(plainText(line)),
    deliver: (line) => terminal.deliver(plainText(line)),
    note: (line) => terminal.note(plainText(line)),
  };
}
