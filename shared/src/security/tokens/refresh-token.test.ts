// Tests which texts are refresh tokens.
// Guarantees: each refused text differs from a good token in one thing.
import { randomBytes } from "node:crypto";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { isUserId } from "../../protocol/messages/ids.js";
import { createRefreshTokens, type RefreshToken } from "./refresh-token.js";

const key = randomBytes(32);
const tokens = createRefreshTokens(() => [key]);
const nextOf = (token: RefreshToken): RefreshToken => tokens.successorsOf(token)[0];
const userId = fc.stringMatching(/^[A-Za-z0-9._:@|~+=-]{1,128}$/).filter(isUserId);

test("every process with the same key reads a token back, whatever the user's name", () => {
  fc.assert(
    fc.property(userId, fc.integer({ min: 0, max: 5 }), (user, steps) => {
      let token = tokens.open(user);
      for (let i = 0; i < steps; i++) token = nextOf(token);
      expect(createRefreshTokens(() => [key]).read(token.text)).toEqual(token);
      expect([token.userId, token.number]).toEqual([user, steps]);
    }),
    { numRuns: 50 },
  );
});

test("a token has one successor, which reveals nothing of it but its place", () => {
  const first = tokens.open("alice");
  const next = nextOf(first);
  expect(createRefreshTokens(() => [key]).successorsOf(first)).toEqual([next]);
  expect(next.sessionId).toBe(first.sessionId);
  expect(next.text.split(".").at(-1)).not.toBe(first.text.split(".").at(-1));
  expect(next.hash).not.toBe(first.hash);
  expect(tokens.open("alice").sessionId).not.toBe(first.sessionId);
});

test("with another key it is invalid, and has another successor", () => {
  const first = tokens.open("alice");
  const otherKey = randomBytes(32);
  const other = createRefreshTokens(() => [otherKey]);
  expect(other.read(first.text)).toBeUndefined();
  expect(other.successorsOf(first)[0].text).not.toBe(nextOf(first).text);
});

test("while keys rotate a token of either is known, and each process knows the other's successor", () => {
  const next = randomBytes(32);
  const [behind, ahead] = [createRefreshTokens(() => [key, next]), createRefreshTokens(() => [next, key])];
  const first = tokens.open("alice");
  for (const by of [behind, ahead]) expect(by.read(first.text)).toEqual(first);
  expect(behind.successorsOf(first)[0]).toEqual(nextOf(first));
  const [made] = ahead.successorsOf(first);
  expect(made).not.toEqual(nextOf(first));
  expect(behind.successorsOf(first)[1]).toEqual(made);
  // From then on this session no longer needs the old key.
  expect(createRefreshTokens(() => [next]).read(made.text)).toEqual(made);
  expect(createRefreshTokens(() => [next]).read(first.text)).toBeUndefined();
});

function changed(token: RefreshToken, part: number, value: string): string {
  const parts = token.text.split(".");
  parts[part] = value;
  return parts.join(".");
}

test("a changed part makes it invalid", () => {
  const token = tokens.open("alice");
  const stranger = tokens.open("bob");
  for (const text of [
    changed(token, 0, "pr2"),
    changed(token, 1, Buffer.from("bob").toString("base64url")),
    changed(token, 2, stranger.sessionId),
    changed(token, 3, "1"),
    changed(token, 3, "00"),
    changed(token, 3, "-1"),
    changed(token, 4, stranger.text.split(".").at(-1) ?? ""),
    changed(token, 1, `${Buffer.from("alice").toString("base64url").slice(0, -1)}V`),
    `${token.text} `,
    `${token.text}.x`,
    ` ${token.text}`,
    token.text.slice(0, -1),
    "",
    "pr1....",
    "x".repeat(100_000),
  ]) {
    expect(tokens.read(text), text.slice(0, 80)).toBeUndefined();
  }
});

test("every bit counts, and no text makes it throw", () => {
  const { text } = tokens.open("alice");
  fc.assert(
    fc.property(fc.integer({ min: 0, max: text.length - 1 }), fc.string({ maxLength: 3 }), (at, put) => {
      const other = text.slice(0, at) + put + text.slice(at + 1);
      expect(tokens.read(other) === undefined).toBe(other !== text);
    }),
    { numRuns: 500 },
  );
});
