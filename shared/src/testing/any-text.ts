// Tests only: texts of all kinds, for property tests.
// Guarantees: yields what fast-check's own `string({ unit: "binary" })` yields, and shrinks alike. That one begins with a
// table of all 1.1 million code points: a second and 100 MB in each worker.
import * as fc from "fast-check";

const SURROGATES = { from: 0xd800, count: 0x800 };
const LAST = 0x10ffff;

const anyCodePoint = fc.nat({ max: LAST - SURROGATES.count }).map(
  (place) => String.fromCodePoint(place < SURROGATES.from ? place : place + SURROGATES.count),
  (text) => {
    const point = typeof text === "string" ? text.codePointAt(0) : undefined;
    if (point === undefined || text !== String.fromCodePoint(point)) throw new Error("no code point");
    if (point < SURROGATES.from) return point;
    if (point < SURROGATES.from + SURROGATES.count) throw new Error("half a code point");
    return point - SURROGATES.count;
  },
);

/** Of whole code points, such as a peer may send. */
export function anyText(lengths: fc.StringSharedConstraints = {}): fc.Arbitrary<string> {
  return fc.string({ ...lengths, unit: anyCodePoint });
}
