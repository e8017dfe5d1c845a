// Tests which origins a list admits, by cases and by properties over invented hosts.
// Guarantees: each refused origin differs from an allowed one in one thing.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { anyText } from "../../testing/any-text.js";
import { createMatchOrigin } from "./match-origin.js";

const matches = (allowed: string, origin: string): boolean => createMatchOrigin([allowed])(origin);

describe("an exact entry", () => {
  test.each([
    ["https://app.example.com", "https://app.example.com"],
    ["https://App.Example.COM", "https://app.example.com"],
    ["https://app.example.com", "HTTPS://APP.EXAMPLE.COM"],
    ["https://app.example.com:443", "https://app.example.com"],
    ["https://app.example.com", "https://app.example.com:443"],
    ["http://127.0.0.1:7100", "http://127.0.0.1:7100"],
    ["http://[::1]:7100", "http://[::1]:7100"],
    ["capacitor://localhost", "capacitor://localhost"],
    ["https://bücher.example", "https://xn--bcher-kva.example"],
  ])("%s lets %s in", (allowed, origin) => expect(matches(allowed, origin)).toBe(true));

  test.each([
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://example.com",
    "https://x.app.example.com",
    "https://app.example.com.evil.test",
    "https://app.example.com.",
    "https://app.example.com/",
    "https://app.example.com/path",
    "https://user@app.example.com",
    "https://evil.test#https://app.example.com",
    "https://app.example.com https://evil.test",
    "app.example.com",
    "null",
    "",
    "*",
  ])("does not let %j in", (origin) => expect(matches("https://app.example.com", origin)).toBe(false));
});

describe("a wildcard", () => {
  test.each(["https://a.example.com", "https://a.b.example.com", "https://A.EXAMPLE.com:443"])(
    "lets %s in",
    (origin) => expect(matches("https://*.Example.com", origin)).toBe(true),
  );
  test.each([
    "https://example.com",
    "https://.example.com",
    "https://a..example.com",
    "https://aexample.com",
    "http://a.example.com",
    "https://a.example.com:8443",
    "https://a.example.com.evil.test",
    "https://evil.test/.example.com",
    "https://evil.test?.example.com",
    "https://evil.test\\.example.com",
    "https://*.example.com",
    "null",
  ])("does not let %j in", (origin) => expect(matches("https://*.example.com", origin)).toBe(false));
  test("matches its own port only", () => {
    expect(matches("http://*.localhost:3000", "http://app.localhost:3000")).toBe(true);
    expect(matches("http://*.localhost:3000", "http://app.localhost")).toBe(false);
  });
});

test("* allows every origin but null and invalid ones", () => {
  const match = createMatchOrigin(["https://a.example", "*"]);
  expect(match("https://anything.test:1")).toBe(true);
  for (const origin of ["null", "", "*", "https://a.example/path"]) expect(match(origin)).toBe(false);
});

describe("self", () => {
  const match = createMatchOrigin(["https://app.example.com", "self"]);
  test.each([
    ["https://push.example.com", "push.example.com"],
    ["https://Push.example.com", "push.EXAMPLE.com"],
    ["https://push.example.com", "push.example.com:443"],
    ["wss://push.example.com", "push.example.com"],
    ["http://127.0.0.1:7110", "127.0.0.1:7110"],
    ["ws://[::1]:7110", "[::1]:7110"],
    ["https://app.example.com", "push.example.com"],
  ])("lets %s in at %s", (origin, host) => expect(match(origin, host)).toBe(true));

  test.each([
    ["https://evil.test", "push.example.com"],
    ["https://push.example.com:8443", "push.example.com"],
    ["https://push.example.com", "push.example.com:8443"],
    ["https://x.push.example.com", "push.example.com"],
    ["ftp://push.example.com", "push.example.com"],
    ["https://evil.test", "x@evil.test/"],
    ["https://push.example.com", ""],
    ["https://push.example.com", undefined],
    ["null", "null"],
  ])("does not let %s in at %s", (origin, host) => expect(match(origin, host)).toBe(false));

  test("counts only if listed", () => {
    expect(createMatchOrigin(["https://a.example"])("https://b.example", "b.example")).toBe(false);
  });
});

test("an empty list allows nobody", () => {
  expect(createMatchOrigin([])("https://app.example.com")).toBe(false);
});

test.each([
  "app.example.com",
  "https://app.example.com/",
  "https://app.example.com/path",
  "https://*",
  "https://*.com",
  "https://*.*.example.com",
  "https://a.*.example.com",
  "https://a*.example.com",
  "https://*.1.2.3.4",
  "*.example.com",
  "null",
  "https://",
  "https://u:p@example.com",
])("%j is not an entry, and stops the start", (entry) => {
  expect(() => createMatchOrigin([entry])).toThrow(/ALLOWED_ORIGINS/);
});

const label = fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/);
const scheme = fc.constantFrom("http", "https");
const domain = fc.tuple(label, label).map(([name, top]) => `${name}.${top}`);
const port = fc.option(fc.integer({ min: 1, max: 65_535 }), { nil: undefined });
const written = (s: string, host: string, p: number | undefined): string =>
  `${s}://${host}${p === undefined ? "" : `:${p}`}`;
const portOf = (s: string, p: number | undefined): number => p ?? (s === "http" ? 80 : 443);

test("for any names: exact is exact, and a wildcard matches only the subdomains", () => {
  fc.assert(
    fc.property(
      scheme,
      scheme,
      domain,
      fc.array(label, { maxLength: 3 }),
      port,
      port,
      (listed, shown, name, subs, listedPort, shownPort) => {
        const host = [...subs, name].join(".");
        const origin = written(shown, host.toUpperCase(), shownPort);
        const isSamePlace = listed === shown && portOf(listed, listedPort) === portOf(shown, shownPort);
        expect(matches(written(listed, name, listedPort), origin)).toBe(isSamePlace && subs.length === 0);
        expect(matches(written(listed, `*.${name}`, listedPort), origin)).toBe(
          isSamePlace && subs.length > 0,
        );
        // A name that merely ends in the same letters.
        expect(
          matches(written(listed, `*.${name}`, listedPort), written(listed, `x${name}`, listedPort)),
        ).toBe(false);
      },
    ),
    { numRuns: 300 },
  );
});

test("for any text: never an exception, never null", () => {
  const match = createMatchOrigin(["https://*.example.com", "https://app.example.com"]);
  fc.assert(
    fc.property(anyText({ maxLength: 60 }), (text) => {
      expect(match(text)).toBe(false);
      expect(match(`https://${text}.evil.test`)).toBe(false);
    }),
    { numRuns: 500 },
  );
});
