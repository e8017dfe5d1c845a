// Tests what is removed from log lines, and what stays.
// Guarantees: every kind of credential that Petrel issues is covered.
import { randomBytes } from "node:crypto";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import { hideSecrets } from "./hide-secrets.js";

const secret = randomBytes(32).toString("base64url");
const jwt = `eyJhbGciOiJFUzI1NiJ9.${randomBytes(60).toString("base64url")}.${randomBytes(64).toString("base64url")}`;
const hex = randomBytes(32).toString("hex");

test.each([
  ["a JWT", `{"reason":"bad token ${jwt} here"}`, jwt],
  ["a JWT's beginning, cut off", `{"reason":"${jwt.slice(0, 90)}"}`, jwt.slice(30, 90)],
  ["a producer's credential", `{"authorization":"pk_abc.${secret}"}`, secret],
  ["a bearer of any form", '{"a":"Authorization: Bearer hush-hush"}', "hush-hush"],
  ["a bearer as a subprotocol", '{"a":"petrel.v1, bearer.hush-hush, x"}', "hush-hush"],
  ["a ticket in a query", '{"url":"/v1/connect?since=3&ticket=hush%2Dhush#x"}', "hush"],
  ["a token in a query", '{"url":"/v1/connect?token=hush"}', "hush"],
  ["a device token", `{"path":"/3/device/${hex}"}`, hex],
  ["a device token in capitals", `{"path":"/3/device/${hex.toUpperCase()}"}`, hex.toUpperCase()],
  ["a password in a URL", '{"url":"rediss://default:hush@host:6379/0"}', "hush"],
  ["a private key", '{"e":"-----BEGIN PRIVATE KEY-----\\nMIIhush\\n-----END PRIVATE KEY-----"}', "MIIhush"],
  ["a private key, cut off", '{"e":"-----BEGIN EC PRIVATE KEY-----\\nMIIhush', "MIIhush"],
])("hides %s", (_name, line, hidden) => {
  expect(line).toContain(hidden);
  expect(hideSecrets(line)).not.toContain(hidden);
});

test("keeps what is not a secret", () => {
  const line = JSON.stringify({
    time: "2026-01-02T03:04:05.678Z",
    node: "push-node-1.mb3x9k2a",
    messageId: `m0_${randomBytes(16).toString("base64url")}`,
    kid: randomBytes(32).toString("base64url"),
    sha1: randomBytes(20).toString("hex"),
    url: "http://127.0.0.1:7101/.well-known/jwks.json",
    reason: "connect ECONNREFUSED 127.0.0.1:6379",
    stack:
      "    at file:///app/shared/dist/redis/connect.js:12:34\n    at async run (node:internal/process:1:2)",
  });
  expect(hideSecrets(line)).toBe(line);
});

test("hides any credential, wherever it is in whatever line", () => {
  const text = fc.string({ maxLength: 40 });
  const bytes = fc.uint8Array({ minLength: 32, maxLength: 32 });
  fc.assert(
    fc.property(text, bytes, text, (before, random, after) => {
      const base64url = Buffer.from(random).toString("base64url");
      const presented = `pk_x.${base64url}`;
      expect(hideSecrets(JSON.stringify({ a: `${before} ${presented} ${after}` }))).not.toContain(base64url);
      const token = Buffer.from(random).toString("hex");
      expect(hideSecrets(JSON.stringify({ a: `${before}/${token}/${after}` }))).not.toContain(token);
    }),
  );
});

test("handles a long line fast: no pattern runs away", () => {
  const pieces = [
    "eyJ",
    "eyJ-",
    "-eyJ",
    "eyJ-aaaaaa.",
    "a.",
    "bearer ",
    "bearer. ",
    "-----BEGIN ",
    "ab:",
    "ab://",
    "f",
  ];
  for (const piece of [...pieces, "-----BEGIN PRIVATE KEY-----", "?token=", "ab://x:", "-", ".", "A "]) {
    const line = piece.repeat(300_000 / piece.length);
    const beganAt = process.cpuUsage().user;
    hideSecrets(line);
    expect((process.cpuUsage().user - beganAt) / 1000, piece).toBeLessThan(2_000);
  }
});

test("finds a token wherever a single expression would find it", () => {
  const piece = fc.constantFrom("eyJ", "eyJaaaaaa", "-", ".", "a", "_", " ", '"', "aaaaaa", "é");
  const simple = /\beyJ[\w-]{6,}\.[\w-]+\.[\w-]*/g;
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 24 }), (pieces) => {
      const line = pieces.join("");
      // After a dot that would be a producer's credential: another rule.
      fc.pre(!/[\w-]{43}/.test(line));
      expect(hideSecrets(line)).toBe(line.replace(simple, "[token]"));
    }),
    { numRuns: sized(2_000, 700) },
  );
});
