// Tests the measured depth of JSON text.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { isNestedDeeperThan } from "./measure-nesting.js";

function depthOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

test("agrees with the depth of the parsed value", () => {
  const strings = fc.string({ unit: fc.constantFrom("[", "]", "{", "}", '"', "\\", "a", "é") });
  const value = fc.letrec<{ node: unknown }>((tie) => ({
    node: fc.oneof({ maxDepth: 6 }, strings, fc.array(tie("node")), fc.dictionary(strings, tie("node"))),
  })).node;
  fc.assert(
    fc.property(value, fc.integer({ min: 0, max: 8 }), (one, maxDepth) => {
      const text = Buffer.from(JSON.stringify(one));
      expect(isNestedDeeperThan(text, maxDepth)).toBe(depthOf(one) > maxDepth);
    }),
  );
});

test("measures megabytes of brackets at once", () => {
  expect(isNestedDeeperThan(Buffer.alloc(8 * 1024 * 1024, "["), 256)).toBe(true);
  expect(isNestedDeeperThan(Buffer.from("[".repeat(256) + "]".repeat(256)), 256)).toBe(false);
  expect(isNestedDeeperThan(Buffer.from("[".repeat(257) + "]".repeat(257)), 256)).toBe(true);
});
