// {logging, the local run} -> here -> a terminal: what others wrote, without what a terminal would take for a command.
// Guarantees: no control character but tab and line feed, and nothing that turns the direction of writing, is left; a line
// of JSON stays the same JSON.

const commands = /(?![\t\n])[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu;

/** In JSON's own notation: in a line of JSON such a character can stand inside a string only. */
export function escapeControls(text: string): string {
  return text.replace(commands, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
