// Tests what is left of text by others that reaches a terminal.
// Guarantees: nothing that a terminal obeys; JSON keeps its meaning.
import * as fc from "fast-check";
import { expect, it } from "vitest";
import { escapeControls } from "./escape-controls.js";

const commands = [
  "\u001b[2J",
  "\r",
  "\u007f",
  "\u0085",
  "\u009b31m",
  "\u009d0;title\u009c",
  "\u202e",
  "\u2066",
  "\u2028",
];

it.each(commands)("removes from %j everything that a terminal obeys", (command) => {
  expect(escapeControls(`a${command}b`)).toMatch(/^[\x20-\x7e]+$/);
});

it("keeps tabs, lines and every script", () => {
  const text = "a\tb\nGrüße, שלום, 你好, 👋";
  expect(escapeControls(text)).toBe(text);
});

it("keeps the meaning of a JSON line", () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 2 }), fc.constantFrom(...commands), (json, command) => {
      const line = JSON.stringify({ [command]: command, value: JSON.parse(json) as unknown });
      expect(JSON.parse(escapeControls(line))).toEqual(JSON.parse(line));
    }),
  );
});
