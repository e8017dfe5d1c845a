// Tests which addresses a notification may open.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { parseUrl } from "@petrel/shared/kernel/parse-url";
import { NAVIGATE_PATTERN } from "./message-schema.js";

const fits = (text: string): boolean => new RegExp(NAVIGATE_PATTERN, "u").test(text);

test.each([
  "https://shop.example/orders/1",
  "HTTP://shop.example",
  "/orders/1",
  "orders/a b?c=d:e#f",
  "?a",
  "ü",
])("%j may be opened", (address) => expect(fits(address)).toBe(true));

test("what a browser would read as a URL of another scheme may not", () => {
  const marks = ["a", "A", ":", "/", " ", "\t", "\n", "\u0000", "\u007f", "\u00a0", ".", "-", "+", "#", "?"];
  const part = fc.constantFrom(...marks, "javascript", "JAVASCRIPT", "data", "http", "https");
  fc.assert(
    fc.property(fc.string({ unit: part, maxLength: 12 }), (text) => {
      const protocol = parseUrl(text, "https://shop.example/app/")?.protocol;
      if (protocol === undefined || protocol === "https:" || protocol === "http:") return;
      expect(fits(text), JSON.stringify(text)).toBe(false);
    }),
    { numRuns: 5_000 },
  );
});
