// Tests the reader of JSON with lines against JSON.parse.
// Guarantees: the same values; the line of each part and of each error.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { JsonLineError, readJsonWithLines } from "./read-json-with-lines.js";

const lineOfError = (text: string): string => {
  try {
    readJsonWithLines(text);
  } catch (error) {
    if (error instanceof JsonLineError) return error.message;
    throw error;
  }
  return "none";
};

test("reads what JSON.parse reads", () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 4 }), fc.constantFrom(undefined, 1, "\t"), (text, indent) => {
      const value: unknown = JSON.parse(text);
      const written = JSON.stringify(value, undefined, indent);
      expect(readJsonWithLines(written).value).toStrictEqual(JSON.parse(written));
    }),
    { numRuns: 300 },
  );
});

test("refuses what JSON.parse refuses", () => {
  // One character more, less or other in a good text.
  const changed = fc
    .tuple(
      fc.json({ maxDepth: 3 }),
      fc.nat(),
      fc.constantFrom("", ",", "}", "]", '"', ":", "0", "\\", "\n", "x"),
    )
    .map(([text, at, sign]) => {
      const i = at % (text.length + 1);
      return text.slice(0, i) + sign + text.slice(i + 1);
    });
  fc.assert(
    fc.property(changed, (text) => {
      let parsed: unknown;
      try {
        parsed = JSON.parse(text);
      } catch {
        expect(lineOfError(text)).toMatch(/^line \d+: /);
        return;
      }
      // JSON.parse takes the last of two members with one name.
      const said = lineOfError(text);
      if (said === "none") expect(readJsonWithLines(text).value).toStrictEqual(parsed);
      else expect(said).toMatch(/occurs twice$/);
    }),
    { numRuns: 1_000 },
  );
});

test("knows the line of each part", () => {
  const { value, lineOf } = readJsonWithLines('{\n  "a": [1,\r\n\n  {"b":\n true}],\n"__proto__": null }\n');
  expect(value).toEqual(JSON.parse('{"a":[1,{"b":true}],"__proto__":null}'));
  expect([
    lineOf(),
    lineOf("a"),
    lineOf("a", 0),
    lineOf("a", 1),
    lineOf("a", 1, "b"),
    lineOf("__proto__"),
  ]).toEqual([1, 2, 2, 4, 5, 6]);
});

test.each([
  ["", "line 1: a value is missing here"],
  ['{\n"a": 1,\n}', "line 3: a name in quotes is missing here"],
  ['{\n"a": 1\n"b": 2}', 'line 3: a "," is missing here'],
  ["[1\n,2\n", 'line 3: a "]" is missing here'],
  ['{"a"\n1}', 'line 2: a ":" is missing here'],
  ['{"a":1}\n\n1', "line 3: there is more after the value"],
  ['{"a":1,\n"\\u0061":2}', 'line 2: "a" occurs twice'],
  ['{"a":[{"b":1,"c":[],\n"b":2}]}', 'line 2: "b" occurs twice'],
  ['["\n"]', "line 1: a string does not end"],
  ["[1, // one\n2]", "line 1: JSON has no comments"],
])("says where %j is wrong", (text, said) => {
  expect(lineOfError(text)).toBe(said);
});
