// Tests that half an emoji becomes U+FFFD, and that nothing else changes.
// Guarantees: compared with String.prototype.toWellFormed, which not every supported compiler target declares.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { makeWellFormed } from "./well-formed-json.js";

test("half an emoji becomes U+FFFD, also in names; a whole one, and text that looks like one, stay", () => {
  const value = { "a\ud83d": ["x\ude00", "\ud83d\ude00", "\\ud83d", "\\\\ud83d", '"\ud83d"'], n: -1.5 };
  const expected = { "a\ufffd": ["x\ufffd", "\ud83d\ude00", "\\ud83d", "\\\\ud83d", '"\ufffd"'], n: -1.5 };
  expect(JSON.parse(makeWellFormed(JSON.stringify(value)))).toEqual(expected);
});

test("any string becomes what a UTF-8 encoder makes of it", () => {
  const unit = fc.constantFrom("\ud83d", "\ude00", "a", "\\", '"', "u", "d83d", "\n", "\u0001", "\u00e9");
  fc.assert(
    fc.property(
      fc.array(unit).map((units) => units.join("")),
      (text) => {
        const expected = Buffer.from(text).toString();
        expect(JSON.parse(makeWellFormed(JSON.stringify(text)))).toBe(expected);
      },
    ),
  );
});
