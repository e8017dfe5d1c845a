// Tests only -> trusted-issuers: a verification by settings, with good tokens of all whom it may trust.
// Guarantees: the other issuer's keys come from a real HTTP server; after a file's tests neither it nor the file of the
// secret is left.
import { type KeyObject, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect } from "vitest";
import { readConfig } from "../../kernel/config.js";
import { createLogger } from "../../kernel/logging/logging.js";
import type { ErrorCode } from "../../protocol/error-codes.js";
import { createSignToken } from "../../security/tokens/sign-token.js";
import { tokenSettings } from "../../security/tokens/token-settings.js";
import { createTrustedVerification, readTrustRules } from "../../security/tokens/trusted-issuers.js";
import type { VerifyToken } from "../../security/tokens/verified-token.js";
import { makePair, type Parts, signBy } from "./sign-by-hand.js";

export type Environment = Readonly<Record<string, string>>;

/** When all of it happens. */
export const nowMs = Date.UTC(2026, 0, 1);
export const nowSeconds = nowMs / 1000;

/** The other issuer. */
export const ISSUER = "https://id.example.com/";
export const theirHeader = { alg: "ES256", typ: "at+jwt", kid: "their1" };
export const theirClaims = {
  iss: ISSUER,
  aud: "https://push.example.com",
  sub: "auth0|42",
  iat: nowSeconds,
  exp: nowSeconds + 60,
  jti: "t1",
};
export const ourClaims = {
  iss: "petrel",
  aud: "petrel",
  sub: "alice",
  iat: nowSeconds,
  exp: nowSeconds + 60,
  jti: "j1",
  typ: "access",
};

/** What a refused token's verification rejects with. */
export function refusal(code: ErrorCode = "PETREL_TOKEN_INVALID"): unknown {
  return expect.objectContaining({ code });
}

/** Call it once in a test file. */
export function useTokenTrust() {
  const clock = { wallMs: () => nowMs, monotonicMs: () => 0 };
  const logger = createLogger({ service: "test", level: "silent" });
  const [own, theirs] = [makePair("ec"), makePair("ec")];
  const secret = randomBytes(48).toString("base64");
  /** The other issuer's server, in this test: what it was asked for, and the keys that it answers with. */
  const issuer: { requests: string[]; published: readonly unknown[] } = { requests: [], published: [] };
  let directory: string;
  let server: Server;
  let base: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "petrel-trust-"));
    writeFileSync(join(directory, "secret"), `${secret}\n`, { mode: 0o600 });
    server = createServer((request, response) => {
      issuer.requests.push(request.url ?? "");
      response.end(JSON.stringify({ keys: issuer.published }));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  beforeEach(() => {
    issuer.requests = [];
    issuer.published = [{ ...theirs.jwk, kid: "their1" }];
  });
  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    rmSync(directory, { recursive: true });
  });

  return {
    own,
    theirs,
    secret,
    issuer,
    /** Holds the secret's file, and is removed with all that a test puts into it. */
    directory: (): string => directory,
    /** Where the other issuer's server listens: http://127.0.0.1:… */
    issuerUrl: (): string => base,

    trustBy: (environment: Environment): VerifyToken =>
      createTrustedVerification(readTrustRules(readConfig(tokenSettings, environment)), {
        findOwnKey: (kid) =>
          Promise.resolve(kid === own.jwk.kid ? { kid, alg: "ES256", key: own.publicKey } : undefined),
        logger,
        clock,
      }),

    /** The settings that trust the other issuer. */
    external: (more: Environment = {}): Environment => ({
      EXTERNAL_ISSUER: ISSUER,
      EXTERNAL_JWKS_URL: `${base}/keys`,
      EXTERNAL_AUDIENCE: "https://push.example.com",
      ...more,
    }),

    /** The settings that trust who has the secret. */
    shared: (more: Environment = {}): Environment => ({
      TOKEN_HS256_SECRET_FILE: join(directory, "secret"),
      ...more,
    }),

    sharedToken: (
      claims: Parts = {},
      header: Parts = {},
      key: KeyObject | string = secret,
    ): Promise<string> =>
      signBy(key, { alg: "HS256", typ: "JWT", kid: "hs256", ...header }, { ...ourClaims, ...claims }),

    ourToken: (): string =>
      createSignToken({ issuer: "petrel", audience: "petrel", clock })(
        { kid: own.jwk.kid, alg: "ES256", privateKey: own.privateKey },
        { userId: "alice", generation: 3, sessionId: "s1", ttlSeconds: 60 },
      ).token,
  };
}
