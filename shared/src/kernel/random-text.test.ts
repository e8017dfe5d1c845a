// Tests random text from a pool.
// Guarantees: of the length that was asked for, and never the same twice, also beyond one fill of the pool.
import { expect, test } from "vitest";
import { RandomText } from "./random-text.js";

test.each([
  [6, 8],
  [16, 22],
])("%i bytes are %i characters, and no two texts are the same", (bytes, characters) => {
  const random = new RandomText(bytes);
  const texts = Array.from({ length: 2_000 }, () => random.next());
  expect(new Set(texts).size).toBe(texts.length);
  for (const text of texts) expect(text).toMatch(new RegExp(`^[\\w-]{${characters}}$`));
});

test("two pools give different texts", () => {
  expect(new RandomText(6).next()).not.toBe(new RandomText(6).next());
});
