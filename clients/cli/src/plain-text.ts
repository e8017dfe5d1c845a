// run-petrel -> here -> the terminal: text by other people, without control sequences.
// Guarantees: a line stays one line, moves no cursor, changes no order of writing; a line of JSON stays the same JSON.
import type { Terminal } from "./terminal.js";

/**
 * C0 but the tab, DEL and C1 (a terminal may take U+009B for an escape sequence's begin), line separators, and what
 * turns the direction of the text around it.
 */
const commands = /(?!\t)[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu;

/** In JSON's own notation: in a line of JSON such a character can stand inside a string only. */
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
