// Tests the tokens that name this server to push services, checked as RFC 8292 says.
import { createPublicKey, generateKeyPairSync, verify } from "node:crypto";
import { encodeVapidKey } from "@petrel/shared/security/web-push/vapid-key";
import { expect, test } from "vitest";
import { VapidTokens } from "./vapid-tokens.js";

test("signs for the origin, for half a day; makes a new one after an hour, or if the clock was set back", () => {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  let nowMs = Date.UTC(2026, 0, 1);
  const tokens = new VapidTokens({
    key: privateKey,
    subject: "mailto:a@b.example",
    clock: { wallMs: () => nowMs },
  });
  const origin = "https://push.example";
  const header = tokens.authorize(origin);
  const [, token = "", key = ""] = /^vapid t=([\w-]+\.[\w-]+\.[\w-]+), k=([\w-]{87})$/.exec(header) ?? [];
  expect(key).toBe(encodeVapidKey(createPublicKey(privateKey)));
  const [head = "", claims = "", signature = ""] = token.split(".");
  const read = (part: string): unknown => JSON.parse(Buffer.from(part, "base64url").toString());
  expect(read(head)).toEqual({ typ: "JWT", alg: "ES256" });
  expect(read(claims)).toEqual({ aud: origin, exp: nowMs / 1_000 + 43_200, sub: "mailto:a@b.example" });
  const isGood = verify(
    "sha256",
    Buffer.from(`${head}.${claims}`),
    { key: createPublicKey(privateKey), dsaEncoding: "ieee-p1363" },
    Buffer.from(signature, "base64url"),
  );
  expect(isGood).toBe(true);
  nowMs += 3_599_999;
  expect(tokens.authorize(origin)).toBe(header);
  expect(tokens.authorize("https://other.example")).not.toBe(header);
  nowMs += 1;
  const renewed = tokens.authorize(origin);
  expect(renewed).not.toBe(header);
  nowMs -= 7_200_000;
  expect(tokens.authorize(origin)).not.toBe(renewed);
});
