// Tests that a text is read as a URL, or not.
import { expect, test } from "vitest";
import { parseUrl } from "./parse-url.js";

test("an absolute URL is one, and a relative one if it has a base", () => {
  expect(parseUrl("https://shop.example/a")?.href).toBe("https://shop.example/a");
  expect(parseUrl("/a", "https://shop.example/")?.href).toBe("https://shop.example/a");
  expect(parseUrl("/a")).toBeUndefined();
  expect(parseUrl("https://")).toBeUndefined();
});

test("an international name is one, however many URLs were read before", () => {
  // Node 20's `URL.canParse` misreads such a name once it is compiled for speed.
  for (let i = 0; i < 50_000; i++) parseUrl("https://shop.example/hook");
  expect(parseUrl("https://bücher.example/hook")?.hostname).toBe("xn--bcher-kva.example");
});
