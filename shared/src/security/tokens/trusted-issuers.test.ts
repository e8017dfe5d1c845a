// Tests whose tokens are good, by settings: auth's own and those of another issuer, whose keys come from a real HTTP
// server. Tries the attacks of RFC 8725 on each.
// Guarantees: each refused token differs from a good one in one thing.
import { createHash, generateKeyPairSync, randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import {
  makePair,
  otherSignature,
  otherSpellings,
  type Parts,
  signBy,
} from "../../testing/peers/sign-by-hand.js";
import {
  type Environment,
  ISSUER,
  nowMs,
  nowSeconds,
  ourClaims,
  refusal,
  theirClaims,
  theirHeader,
  useTokenTrust,
} from "../../testing/peers/token-trust.js";

const { directory, external, issuer, issuerUrl, ourToken, own, shared, sharedToken, theirs, trustBy } =
  useTokenTrust();
const [rsa, stranger] = [makePair("rsa"), makePair("ec")];

beforeEach(() => {
  issuer.published = [...issuer.published, { ...rsa.jwk, kid: "their-rsa" }];
});

const theirToken = (claims: Parts = {}, header: Parts = {}, key = theirs.privateKey): Promise<string> =>
  signBy(key, { ...theirHeader, ...header }, { ...theirClaims, ...claims });

describe("another issuer's tokens", () => {
  test("are accepted with its keys, which are fetched once; ours are accepted beside them", async () => {
    const verify = trustBy(external());
    expect(await verify(await theirToken())).toEqual({
      userId: "auth0|42",
      jti: "t1",
      issuedAtMs: nowMs,
      expiresAtMs: nowMs + 60_000,
      generation: nowMs,
      issuer: ISSUER,
    });
    expect((await verify(await theirToken({}, { alg: "RS256", kid: "their-rsa" }, rsa.privateKey))).jti).toBe(
      "t1",
    );
    expect(await verify(ourToken())).toMatchObject({ userId: "alice", sessionId: "s1", generation: 3 });
    expect(issuer.requests).toEqual(["/keys"]);
  });

  test("are accepted instead of ours if configured", async () => {
    const verify = trustBy(external({ TRUST_OWN_TOKENS: "false" }));
    await verify(await theirToken());
    await expect(verify(ourToken())).rejects.toEqual(refusal());
  });

  test("name the user in the configured claim, and may have the configured types", async () => {
    const verify = trustBy(external({ EXTERNAL_USER_CLAIM: "email", EXTERNAL_TOKEN_TYPES: "JWT, at+jwt" }));
    expect((await verify(await theirToken({ email: "a@b.example" }, { typ: "JWT" }))).userId).toBe(
      "a@b.example",
    );
    expect(
      (await verify(await theirToken({ email: "a@b.example" }, { typ: "application/AT+jwt" }))).userId,
    ).toBe("a@b.example");
    await expect(verify(await theirToken())).rejects.toEqual(refusal());
    const inherited = trustBy(external({ EXTERNAL_USER_CLAIM: "constructor" }));
    await expect(inherited(await theirToken())).rejects.toEqual(refusal());
  });

  test("without a jti get a name of their own, so that they can be revoked", async () => {
    const verify = trustBy(external());
    for (const jti of [undefined, "", 7, "a b", "x".repeat(200)]) {
      const token = await theirToken({ jti });
      const { jti: made } = await verify(token);
      expect(made).toMatch(/^sha256\.[A-Za-z0-9_-]{43}$/);
      expect((await verify(token)).jti).toBe(made);
    }
  });

  test("have one name in all accepted spellings, and only the signed part makes it", async () => {
    const verify = trustBy(external());
    const token = await theirToken({ jti: undefined });
    const { jti, formerNames } = await verify(token);
    // The same text with the other signature that its holder can make.
    const twin = otherSignature(token);
    expect(twin).not.toBe(token);
    expect(await verify(twin)).toMatchObject({ jti });
    expect(new Set((await verify(twin)).formerNames)).toEqual(new Set(formerNames));
    // What the release before called it.
    expect(formerNames).toContain(`sha256.${createHash("sha256").update(token).digest("base64url")}`);
    expect(formerNames).toContain(`sha256.${createHash("sha256").update(twin).digest("base64url")}`);
    const other = await verify(await theirToken({ jti: undefined, exp: nowSeconds + 61 }));
    expect(other.jti).not.toBe(jti);
    expect(await verify(await theirToken())).not.toHaveProperty("formerNames");
  });

  test.each([
    ["ES256", () => theirToken({ jti: undefined })],
    ["RS256", () => theirToken({}, { alg: "RS256", kid: "their-rsa" }, rsa.privateKey)],
    ["HS256", () => sharedToken()],
    ["our own", () => Promise.resolve(ourToken())],
  ])("%s: of a signature's spellings only an encoder's passes", async (_what, make) => {
    const verify = trustBy({ ...shared(), ...external() });
    const token = await make();
    await verify(token);
    const respelled = otherSpellings(token);
    expect(respelled.length).toBeGreaterThan(0);
    for (const one of respelled) await expect(verify(one)).rejects.toEqual(refusal());
  });

  test("carry no session, generation or device of ours", async () => {
    const claims = { gen: 9e15, sid: "s1", device: { id: "d", platform: "ios" }, topics: ["t"] };
    const verified = await trustBy(external())(await theirToken(claims));
    expect(verified.generation).toBe(nowMs);
    for (const name of ["sessionId", "device", "topics"]) expect(verified).not.toHaveProperty(name);
  });

  test.each<[string, Parts, Parts]>([
    ["another audience", { aud: "https://other.example.com" }, {}],
    ["our audience", { aud: "petrel" }, {}],
    ["no audience", { aud: undefined }, {}],
    ["no exp", { exp: undefined }, {}],
    ["no iat", { iat: undefined }, {}],
    ["an iat in the future", { iat: nowSeconds + 61 }, {}],
    ["a life of more than a year", { exp: nowSeconds + 367 * 86_400 }, {}],
    ["no sub", { sub: undefined }, {}],
    ["a sub that is not a user id", { sub: "a b" }, {}],
    ["a sub that is a path segment", { sub: ".." }, {}],
    ["an nbf to come", { nbf: nowSeconds + 30 }, {}],
    ["an ID token's type", {}, { typ: "JWT" }],
    ["another type", {}, { typ: "logout+jwt" }],
    ["no type", {}, { typ: undefined }],
    ["a type that is not a string", {}, { typ: ["at+jwt"] }],
    ["no kid", {}, { kid: undefined }],
    ["an unknown kid", {}, { kid: "their2" }],
    ["a path as kid", {}, { kid: "../../../../dev/null" }],
    ["a query as kid", {}, { kid: "x' UNION SELECT 'AAAA" }],
    ["a prototype's kid", {}, { kid: "__proto__" }],
    ["a critical extension", {}, { crit: ["exp"] }],
    ["an unencoded payload", {}, { crit: ["b64"], b64: false }],
    ["the other algorithm", {}, { alg: "RS256" }],
    ["our issuer's name", { iss: "petrel" }, {}],
    ["an unknown issuer", { iss: "https://evil.example.com/" }, {}],
    ["a nearly right issuer", { iss: "https://id.example.com" }, {}],
    ["a list of names", { iss: [ISSUER] }, {}],
  ])("with %s are refused", async (_what, claims, header) => {
    const verify = trustBy(external());
    await verify(await theirToken());
    await expect(verify(await theirToken(claims, header))).rejects.toEqual(refusal());
  });

  test("expire on time", async () => {
    const verify = trustBy(external());
    await verify(await theirToken({ exp: nowSeconds - 4 }));
    await expect(verify(await theirToken({ exp: nowSeconds - 5 }))).rejects.toEqual(
      refusal("PETREL_TOKEN_EXPIRED"),
    );
    const strict = trustBy(external({ TOKEN_CLOCK_SKEW_SECONDS: "0" }));
    await expect(strict(await theirToken({ exp: nowSeconds }))).rejects.toEqual(
      refusal("PETREL_TOKEN_EXPIRED"),
    );
  });

  test("can neither bring nor point at keys: only the configured address is asked", async () => {
    const verify = trustBy(external());
    await verify(await theirToken());
    const jwk = { ...stranger.jwk, kid: "evil" };
    for (const header of [
      { jwk },
      { jwk, kid: "evil" },
      { jku: `${issuerUrl()}/evil`, kid: "evil" },
      { x5u: `${issuerUrl()}/evil`, kid: "evil" },
      { x5c: ["AAAA"], kid: "evil" },
    ]) {
      await expect(verify(await theirToken({}, header, stranger.privateKey))).rejects.toEqual(refusal());
    }
    // Nor does it spoil a good token.
    await verify(await theirToken({}, { jku: `${issuerUrl()}/evil`, jwk }));
    expect(issuer.requests).toEqual(["/keys"]);
  });

  test("are never checked with our keys, nor ours with theirs, whatever the kid", async () => {
    issuer.published = [{ ...theirs.jwk, kid: own.jwk.kid }];
    const verify = trustBy(external());
    // Our issuer's name, and a kid of ours that they publish too, but their signature.
    const posing = await signBy(
      theirs.privateKey,
      { alg: "ES256", typ: "JWT", kid: own.jwk.kid },
      { ...ourClaims, gen: 0 },
    );
    await expect(verify(posing)).rejects.toEqual(refusal());
    const ours = await theirToken({}, { kid: own.jwk.kid }, own.privateKey);
    await expect(verify(ours)).rejects.toEqual(refusal());
    await verify(await theirToken({}, { kid: own.jwk.kid }));
  });

  test("use the first of two keys with one kid; symmetric, private and weak ones never", async () => {
    const weak = generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey.export({ format: "jwk" });
    issuer.published = [
      { kty: "oct", kid: "s", k: "AAAA" },
      { ...stranger.privateKey.export({ format: "jwk" }), kid: "p" },
      { ...weak, kid: "w" },
      { ...theirs.jwk, kid: "their1" },
      { ...stranger.jwk, kid: "their1" },
    ];
    const verify = trustBy(external());
    await verify(await theirToken());
    await expect(verify(await theirToken({}, {}, stranger.privateKey))).rejects.toEqual(refusal());
    for (const kid of ["s", "p", "w"]) {
      await expect(verify(await theirToken({}, { kid }, stranger.privateKey))).rejects.toEqual(refusal());
    }
  });

  test("are neither good nor bad while the issuer does not answer, and ours are not affected", async () => {
    const verify = trustBy(external({ EXTERNAL_JWKS_URL: "http://127.0.0.1:1/keys" }));
    await expect(verify(await theirToken())).rejects.toEqual(refusal("PETREL_UNAVAILABLE"));
    await verify(ourToken());
  });
});

describe("settings that do not fit together stop the start", () => {
  const file = (content: string | Buffer): string => {
    const path = join(directory(), randomBytes(6).toString("hex"));
    writeFileSync(path, content);
    return path;
  };
  test.each<[string, () => Environment, RegExp]>([
    ["half an issuer", () => ({ EXTERNAL_ISSUER: ISSUER }), /must be set together/],
    [
      "keys without an issuer",
      () => ({ EXTERNAL_JWKS_URL: "https://a.example/keys" }),
      /must be set together/,
    ],
    ["our own name", () => external({ EXTERNAL_ISSUER: "petrel" }), /differ from TOKEN_ISSUER/],
    ["keys in the clear", () => external({ EXTERNAL_JWKS_URL: "http://id.example.com/keys" }), /https/],
    [
      "keys in the clear, nearly here",
      () => external({ EXTERNAL_JWKS_URL: "http://127.0.0.1.evil.test/" }),
      /https/,
    ],
    ["no address", () => external({ EXTERNAL_JWKS_URL: "keys.json" }), /https/],
    ["no types", () => external({ EXTERNAL_TOKEN_TYPES: "," }), /at least one/],
    ["no issuer to trust", () => ({ TRUST_OWN_TOKENS: "false" }), /no issuer to trust/],
    ["too much skew", () => ({ TOKEN_CLOCK_SKEW_SECONDS: "61" }), /to 60/],
    ["a short secret", () => shared({ TOKEN_HS256_SECRET_FILE: file("x".repeat(31)) }), /32 bytes/],
    [
      "a short secret and a line end",
      () => shared({ TOKEN_HS256_SECRET_FILE: file(`${"x".repeat(31)}\n`) }),
      /32/,
    ],
    ["no secret", () => shared({ TOKEN_HS256_SECRET_FILE: file("") }), /32 bytes/],
    ["no file", () => shared({ TOKEN_HS256_SECRET_FILE: join(directory(), "nowhere") }), /cannot be read/],
    [
      "a public key as the secret",
      () =>
        shared({
          TOKEN_HS256_SECRET_FILE: file(own.publicKey.export({ type: "spki", format: "pem" })),
        }),
      /key pair/,
    ],
  ])("%s", (_what, environment, message) => {
    expect(() => trustBy(environment())).toThrow(message);
  });
});
