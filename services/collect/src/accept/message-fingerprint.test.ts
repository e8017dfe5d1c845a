// Tests which messages count as the same content.
import { hash } from "node:crypto";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { canonicalJson, fingerprintMessage, type MessageContent } from "./message-fingerprint.js";

const json = fc.jsonValue({ maxDepth: 4 });
const content: fc.Arbitrary<MessageContent> = fc.record(
  {
    data: json,
    ttlSeconds: fc.integer({ min: 1, max: 3 }),
    priority: fc.constantFrom("high", "normal", "low"),
    fallback: fc.constantFrom("offline", "always", "never"),
    notification: fc.dictionary(fc.string(), json),
  },
  { requiredKeys: ["data", "ttlSeconds", "priority", "fallback"] },
);

/** The same value with the members of every object in the opposite order. */
function turnedAround(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(turnedAround);
  const members = Object.entries(value)
    .reverse()
    .map(([name, member]) => [name, turnedAround(member)] as const);
  // As JSON.parse makes it: `__proto__` is a member like any other.
  return JSON.parse(
    `{${members.map(([name, member]) => `${JSON.stringify(name)}:${JSON.stringify(member)}`).join(",")}}`,
  );
}

test("ignores the order of members", () => {
  fc.assert(
    fc.property(content, (one) => {
      const other = { ...one, data: turnedAround(one.data), notification: turnedAround(one.notification) };
      expect(fingerprintMessage(other)).toBe(fingerprintMessage(one));
    }),
  );
});

test("equal fingerprints mean equal content", () => {
  fc.assert(
    fc.property(json, json, (a, b) => {
      const parsed = [a, b].map((value) => JSON.parse(canonicalJson(value)) as unknown);
      expect(parsed[0]).toEqual(JSON.parse(JSON.stringify(a)));
      const isSame = canonicalJson(a) === canonicalJson(b);
      if (isSame) expect(parsed[0]).toEqual(parsed[1]);
      else expect(JSON.stringify(a)).not.toBe(JSON.stringify(b));
    }),
  );
});

test("any change of the content changes it", () => {
  const base: MessageContent = {
    data: { a: [1, 2], b: "x" },
    ttlSeconds: 60,
    priority: "normal",
    fallback: "offline",
    notification: { title: "t", body: "b" },
  };
  const { notification, ...without } = base;
  const others: MessageContent[] = [
    { ...base, data: { a: [2, 1], b: "x" } },
    { ...base, data: { a: [1, 2], b: "y" } },
    { ...base, data: { a: [1, 2], b: "x", c: null } },
    { ...base, data: { a: ["1", 2], b: "x" } },
    { ...base, ttlSeconds: 61 },
    { ...base, priority: "high" },
    { ...base, fallback: "never" },
    { ...base, notification: { title: "t", body: "c" } },
    { ...base, collapseKey: "k" },
    { ...base, collapseKey: "l" },
    without,
  ];
  const fingerprints = new Set([base, ...others].map(fingerprintMessage));
  expect(notification).toBeDefined();
  expect(fingerprints.size).toBe(others.length + 1);
});

test("a message without a collapse key has the same fingerprint as before there were any", () => {
  const content = { data: 1, ttlSeconds: 60, priority: "normal", fallback: "offline" };
  expect(fingerprintMessage(content)).toBe(hash("sha256", '[1,60,"normal","offline",null]', "base64url"));
});

test("counts a member named __proto__ as content", () => {
  const one = JSON.parse('{"__proto__":{"a":1}}') as unknown;
  expect(canonicalJson(one)).toBe('{"__proto__":{"a":1}}');
});
