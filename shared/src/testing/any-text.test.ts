// Any text holds what a parser may trip over.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { anyText } from "./any-text.js";

const texts = fc.sample(anyText({ maxLength: 20 }), { seed: 1, numRuns: 3_000 });

test("code points of every length in UTF-8, none of them half a one", () => {
  const points = texts.flatMap((text) => Array.from(text, (point) => point.codePointAt(0) ?? 0));
  const ends = [0x80, 0x800, 0x1_0000, 0x11_0000];
  expect(new Set(points.map((point) => ends.findIndex((end) => point < end)))).toEqual(new Set([0, 1, 2, 3]));
  expect(points.some((point) => point >= 0xd800 && point < 0xe000)).toBe(false);
});

test("names that every object has, and the empty text", () => {
  expect(texts).toContain("__proto__");
  expect(texts).toContain("");
});
