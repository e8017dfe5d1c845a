// {logging, the local run} -> here -> a terminal: escapes everything in foreign text that a terminal would take for a
// command.
// Guarantees: no control character but tab and line feed is left, nor any that changes the writing direction. A line of
// JSON stays the same JSON.

const commands = /(?![\t\n])[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu;

/** Uses JSON's own notation: in a line of JSON such a character can only stand inside a string. */
export function escapeControls(text: string): string {
  return text.replace(commands, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
