// Tests tokens of a shared secret, by settings: which are good, beside ours or alone, and the attacks of RFC 8725 on them.
// Guarantees: each refused token differs from a good one in one thing.
import { createHmac } from "node:crypto";
import { describe, expect, test } from "vitest";
import { base64url, type Parts, signBy } from "../../testing/peers/sign-by-hand.js";
import {
  nowMs,
  ourClaims,
  refusal,
  theirClaims,
  theirHeader,
  useTokenTrust,
} from "../../testing/peers/token-trust.js";

const { external, ourToken, own, secret, shared, sharedToken, trustBy } = useTokenTrust();

describe("tokens of a shared secret", () => {
  test("are accepted beside ours, revoked by time, with a device", async () => {
    const verify = trustBy(shared());
    const device = { id: "d", platform: "ios" };
    expect(await verify(await sharedToken({ device, gen: 9e15, sid: "s1" }))).toEqual({
      userId: "alice",
      jti: "j1",
      issuedAtMs: nowMs,
      expiresAtMs: nowMs + 60_000,
      generation: nowMs,
      device,
    });
    await verify(ourToken());
  });

  test("are accepted alone, and under another issuer, if configured", async () => {
    const verify = trustBy(shared({ TRUST_OWN_TOKENS: "false", TOKEN_HS256_KEY_ID: "shop-1" }));
    await verify(await sharedToken({}, { kid: "shop-1" }));
    await expect(verify(await sharedToken())).rejects.toEqual(refusal());
    await expect(verify(ourToken())).rejects.toEqual(refusal());
  });

  test("are refused if no secret is configured", async () => {
    await expect(trustBy({})(await sharedToken())).rejects.toEqual(refusal());
  });

  test.each<[string, Parts, Parts]>([
    ["no typ", { typ: undefined }, {}],
    ["another typ", { typ: "refresh" }, {}],
    ["another header type", {}, { typ: "secevent+jwt" }],
    ["no exp", { exp: undefined }, {}],
    ["no iat", { iat: undefined }, {}],
    ["another issuer", { iss: "shop" }, {}],
    ["another audience", { aud: "shop" }, {}],
    ["no kid", {}, { kid: undefined }],
    ["the kid of another key", {}, { kid: own.jwk.kid }],
    ["another algorithm's name", {}, { alg: "HS512" }],
    ["alg none", {}, { alg: "none" }],
    ["a device of another form", { device: { id: "d" } }, {}],
  ])("with %s are refused", async (_what, claims, header) => {
    const verify = trustBy(shared());
    await verify(await sharedToken());
    await expect(verify(await sharedToken(claims, header))).rejects.toEqual(refusal());
  });

  test("with another HMAC than the key's are refused, however well signed", async () => {
    const verify = trustBy(shared());
    for (const [alg, digest] of [
      ["HS384", "sha384"],
      ["HS512", "sha512"],
    ] as const) {
      const input = `${base64url({ alg, typ: "JWT", kid: "hs256" })}.${base64url(ourClaims)}`;
      const token = `${input}.${createHmac(digest, secret).update(input).digest("base64url")}`;
      await expect(verify(token)).rejects.toEqual(refusal());
    }
  });

  test("signed with a public key, an empty or another secret are refused, under each kid", async () => {
    const verify = trustBy({ ...shared(), ...external() });
    const pem = own.publicKey.export({ type: "spki", format: "pem" }).toString();
    const jwk = JSON.stringify(own.jwk);
    for (const forged of [pem, pem.trim(), jwk, "", "secret", secret.slice(0, 32)]) {
      for (const kid of ["hs256", own.jwk.kid]) {
        await expect(verify(await sharedToken({}, { kid }, forged))).rejects.toEqual(refusal());
      }
      await expect(
        verify(await signBy(forged, { ...theirHeader, alg: "HS256" }, theirClaims)),
      ).rejects.toEqual(refusal());
    }
    // The secret is no key of the other issuer, and its name is none of its keys.
    await expect(
      verify(await signBy(secret, { ...theirHeader, alg: "HS256", kid: "hs256" }, theirClaims)),
    ).rejects.toEqual(refusal());
    // An asymmetric signature under the secret's name.
    await expect(verify(await sharedToken({}, { alg: "ES256" }, own.privateKey))).rejects.toEqual(refusal());
  });
});
