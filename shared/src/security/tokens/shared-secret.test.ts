// Tests tokens of a shared secret, by settings: which are good, beside ours or alone, and the attacks of RFC 8725 on them.
// Guarantees: each refused token differs from a good one in one thing.
import { createHmac, type KeyObject, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readConfig } from "../../kernel/config.js";
import { createLogger } from "../../kernel/logging/logging.js";
import type { ErrorCode } from "../../protocol/error-codes.js";
import { base64url, makePair, type Parts, signBy } from "../../testing/peers/sign-by-hand.js";
import { createSignToken } from "./sign-token.js";
import { tokenSettings } from "./token-settings.js";
import { createTrustedVerification, readTrustRules } from "./trusted-issuers.js";
import type { VerifyToken } from "./verified-token.js";

const logger = createLogger({ service: "test", level: "silent" });
const nowMs = Date.UTC(2026, 0, 1);
const nowSeconds = nowMs / 1000;
const clock = { wallMs: () => nowMs, monotonicMs: () => 0 };
const [own, theirs] = [makePair("ec"), makePair("ec")];
const secret = randomBytes(48).toString("base64");
const ISSUER = "https://id.example.com/";

let directory: string;
let server: Server;
let base: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "petrel-trust-"));
  writeFileSync(join(directory, "secret"), `${secret}\n`, { mode: 0o600 });
  server = createServer((_request, response) => {
    response.end(JSON.stringify({ keys: [{ ...theirs.jwk, kid: "their1" }] }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(directory, { recursive: true });
});

type Environment = Readonly<Record<string, string>>;

function trustBy(environment: Environment): VerifyToken {
  return createTrustedVerification(readTrustRules(readConfig(tokenSettings, environment)), {
    findOwnKey: (kid) =>
      Promise.resolve(kid === own.jwk.kid ? { kid, alg: "ES256", key: own.publicKey } : undefined),
    logger,
    clock,
  });
}

const external = (more: Environment = {}): Environment => ({
  EXTERNAL_ISSUER: ISSUER,
  EXTERNAL_JWKS_URL: `${base}/keys`,
  EXTERNAL_AUDIENCE: "https://push.example.com",
  ...more,
});
const shared = (more: Environment = {}): Environment => ({
  TOKEN_HS256_SECRET_FILE: join(directory, "secret"),
  ...more,
});

const theirHeader = { alg: "ES256", typ: "at+jwt", kid: "their1" };
const theirClaims = {
  iss: ISSUER,
  aud: "https://push.example.com",
  sub: "auth0|42",
  iat: nowSeconds,
  exp: nowSeconds + 60,
  jti: "t1",
};
const ourClaims = {
  iss: "petrel",
  aud: "petrel",
  sub: "alice",
  iat: nowSeconds,
  exp: nowSeconds + 60,
  jti: "j1",
  typ: "access",
};
const sharedToken = (claims: Parts = {}, header: Parts = {}, key: KeyObject | string = secret) =>
  signBy(key, { alg: "HS256", typ: "JWT", kid: "hs256", ...header }, { ...ourClaims, ...claims });
const ourToken = (): string =>
  createSignToken({ issuer: "petrel", audience: "petrel", clock })(
    { kid: own.jwk.kid, alg: "ES256", privateKey: own.privateKey },
    { userId: "alice", generation: 3, sessionId: "s1", ttlSeconds: 60 },
  ).token;

const refusal = (code: ErrorCode = "PETREL_TOKEN_INVALID") => expect.objectContaining({ code });

describe("tokens of a shared secret", () => {
  test("are good beside ours, revoked by time, with a device", async () => {
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

  test("are good alone, and by another name, where it is said so", async () => {
    const verify = trustBy(shared({ TRUST_OWN_TOKENS: "false", TOKEN_HS256_KEY_ID: "shop-1" }));
    await verify(await sharedToken({}, { kid: "shop-1" }));
    await expect(verify(await sharedToken())).rejects.toEqual(refusal());
    await expect(verify(ourToken())).rejects.toEqual(refusal());
  });

  test("are good for nobody where no secret is configured", async () => {
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

  test("by another HMAC than the key's are refused, however well signed", async () => {
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

  test("by a public key, an empty or another secret are refused, under each name", async () => {
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
