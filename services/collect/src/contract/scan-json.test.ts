// Tests which JSON text is passed over unread.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { JsonScan } from "./scan-json.js";

/** @returns what was passed over at the text's beginning, if anything */
function passedOver(text: string, depth = 8): string | undefined {
  const scan = new JsonScan(text);
  return scan.takeValue(depth) ? text.slice(0, scan.at) : undefined;
}

/** Bytes of a body hold no half of a surrogate pair. */
const asDecoded = (text: string): string => Buffer.from(text).toString();
const rewrite = (text: string): string => JSON.stringify(JSON.parse(text));

const nearNumbers = fc
  .array(fc.constantFrom("0", "1", "9", "5", "00000", ".", "-", "+", "e", "E", "12345678"), { maxLength: 8 })
  .map((parts) => parts.join(""));
const nearJson = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        ...'{}[],:"\\ '.split(""),
        "\t",
        "\n",
        "true",
        "null",
        "false",
        '"a"',
        '"b":',
        '"1":',
        '"__proto__":',
        "\\u00e9",
      ),
      nearNumbers,
      fc.jsonValue().map((value) => JSON.stringify(value)),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(""));
const cutOrChanged = fc
  .tuple(fc.jsonValue({ maxDepth: 4 }), fc.nat(), fc.string({ unit: "binary", maxLength: 2 }), fc.nat(3))
  .map(([value, at, put, dropped]) => {
    const text = JSON.stringify(value);
    const from = at % (text.length + 1);
    return text.slice(0, from) + put + text.slice(from + dropped);
  });

test("what it passes over is written the same way by JSON.stringify", () => {
  const texts = fc.oneof(nearNumbers, nearJson, cutOrChanged, fc.json(), fc.string({ unit: "binary" }));
  fc.assert(
    fc.property(texts, (any) => {
      const text = asDecoded(any);
      const passed = passedOver(text);
      if (passed !== undefined) expect(rewrite(passed)).toBe(passed);
    }),
    { numRuns: 5_000 },
  );
});

test("passes over what senders send", () => {
  const name = fc.stringMatching(/^[a-z]{1,12}$/);
  const plain = fc.letrec<{ node: unknown }>((tie) => ({
    node: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom(true, false, null),
      fc.integer(),
      fc.integer({ min: -1e9, max: 1e9 }).map((cents) => cents / 100),
      fc.string({ unit: "grapheme" }),
      fc.array(tie("node"), { maxLength: 4 }),
      fc.dictionary(name, tie("node"), { maxKeys: 12 }),
    ),
  })).node;
  fc.assert(
    fc.property(plain, (value) => {
      const text = asDecoded(JSON.stringify(value));
      // Control characters without a short escape, and half a surrogate pair.
      if (text.includes("\\u")) return;
      expect(passedOver(text)).toBe(text);
    }),
  );
  const order =
    '{"id":4711,"state":"shipped","at":1700000000000,"total":12.5,"tax":0.05,"items":[{"sku":"a-1","n":2}]}';
  expect(passedOver(order)).toBe(order);
});

test.each([
  ["white space", '{"a": 1}'],
  ["a second member of the same name", '{"a":1,"a":2}'],
  ["a name like an index, which is written first", '{"b":1,"0":2}'],
  ["an escape that is not needed", String.raw`"\u0041"`],
  ["an escaped slash", String.raw`"\/"`],
  ["more digits than a double has", "12345678901234567"],
  ["an exponent", "1e3"],
  ["a fraction of zeros", "1.50"],
  ["a very small number", "0.0000001"],
  ["less than nothing", "-0"],
  ["too large a number", "1e999"],
  ["a control character", '"\u0001"'],
  ["an open string", '"a'],
  ["a leading zero", "01"],
  ["a bare point", "1."],
  ["a comma too many", "[1,]"],
  ["nothing", ""],
])("leaves %s to the parser", (_what, text) => {
  expect(passedOver(text)).not.toBe(text);
});

test.each([
  ["different", (i: number) => `${String.fromCharCode(97 + (i % 26))}name${i}`],
  ["alike", (i: number) => `a${String(i).padStart(3, "0")}z`],
])("finds a repeated name among many that are %s, in its own object only", (_what, nameOf) => {
  const names = Array.from({ length: 80 }, (_, i) => `"${nameOf(i)}":{"${nameOf(i)}":${i}}`);
  const object = `{${names.join(",")}}`;
  expect(passedOver(object)).toBe(object);
  for (const again of [0, 1, 17, 79])
    expect(passedOver(`{${[...names, `"${nameOf(again)}":1`].join(",")}}`)).toBeUndefined();
});

test("leaves deep values to the parser, before they could overflow the stack", () => {
  expect(passedOver("[".repeat(3) + "]".repeat(3), 3)).toBe("[[[]]]");
  expect(passedOver("[".repeat(4) + "]".repeat(4), 3)).toBeUndefined();
  expect(passedOver("[".repeat(100_000), 64)).toBeUndefined();
});
