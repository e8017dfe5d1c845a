// POST /v1/tokens/revoke: a user signs out; a business system revokes a token, or everything of a user.
// Guarantees: answers once the revocation is written and every node has been told. From then on no service accepts the
// token, and its sockets close. Idempotent.
import { errorSchema, producerErrors } from "@petrel/shared/kernel/http/error-schema";
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpApp, HttpRequest } from "@petrel/shared/kernel/http/http-app";
import type { LimitDecision } from "@petrel/shared/kernel/limits/limit-decision";
import { refusalByLimit, type UnsentAnswer } from "@petrel/shared/kernel/limits/rate-limit-headers";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { USER_ID_PATTERN } from "@petrel/shared/protocol/messages/ids";
import type { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import {
  checksProducers,
  producerCheck,
  producerOf,
} from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { TOKEN_ID_PATTERN, type VerifiedToken } from "@petrel/shared/security/tokens/verified-token";
import type { Static } from "typebox";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { authorizeUser, type AuthorizeUserDeps, tokenIfAny } from "../tokens/authorize-user.js";

export interface RevocationLimit {
  /** 0: no limit. */
  readonly perWindow: number;
  readonly limiter: { take(keyId: string, count: number): LimitDecision | Promise<LimitDecision> };
}

export interface RevokeTokensDeps extends AuthorizeUserDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly audit: AuditLog;
  /** How much a key may revoke without presenting the token itself. */
  readonly limit: RevocationLimit;
}

export const REVOCATIONS_WINDOW_MS = 60 * 60 * 1000;
const revocationsPolicy = { name: "revocations", windowMs: REVOCATIONS_WINDOW_MS } as const;
/**
 * A `jti` that must be remembered for longer counts as ten, because every partition stores it: invented ones must not
 * fill Redis.
 */
const SHORT_MS = 24 * 60 * 60 * 1000;
const LONG_COST = 10;

/** The year 9999; later values are not treated as times. */
const MAX_EXP_SECONDS = 253_402_300_799;

const bodySchema = Type.Union([
  Type.Object(
    {
      userId: Type.Optional(
        Type.String({
          pattern: USER_ID_PATTERN,
          description: "All tokens and sessions that the user has now.",
        }),
      ),
      jti: Type.Optional(Type.String({ pattern: TOKEN_ID_PATTERN, description: "Only this token." })),
      exp: Type.Optional(
        Type.Integer({
          minimum: 0,
          maximum: MAX_EXP_SECONDS,
          description:
            "With `jti`: when that token expires, Unix time in seconds. The revocation is remembered until then only.",
        }),
      ),
      token: Type.Optional(
        Type.String({
          minLength: 1,
          maxLength: 16_384,
          description: "The whole token. It shows its user and its expiry, so it counts against no limit.",
        }),
      ),
    },
    { title: "Revocation", additionalProperties: false },
  ),
  // Allows a missing body.
  Type.Null(),
]);

type Body = Static<typeof bodySchema>;

export function addRevokeTokens(app: HttpApp, deps: RevokeTokensDeps): void {
  const asUser = authorizeUser(deps);
  const asProducer = producerCheck(deps.authenticator, "tokens");
  app.post(
    "/v1/tokens/revoke",
    {
      onRequest: checksProducers(async (request) => {
        await (bringsUserToken(request) ? asUser(request) : asProducer(request));
      }),
      schema: {
        tags: ["tokens"],
        summary: "Sign out (user token), or revoke a token or all of a user's (scope: tokens)",
        description:
          "With a user's token and no body: ends that session. With a producer key: `userId`, `jti` (and `exp`, if known) or " +
          "`token`. Sockets close with 4403, on every node.",
        security: producerSecurity,
        querystring: noQuerySchema,
        body: bodySchema,
        response: { 204: Type.Null(), ...producerErrors, 429: errorSchema },
      },
    },
    async (request, reply) => {
      const token = tokenIfAny(request);
      const body: Body | undefined = request.body;
      if (token === undefined) await revokeAsProducer(deps, request, reply, body ?? null);
      else await signOut(deps, request, token, body ?? null);
      return reply.code(204).send(null);
    },
  );
}

/** A compact JWS begins with a JSON object (RFC 7515 section 7.1); a producer's credential never does. */
function bringsUserToken({ headers }: HttpRequest): boolean {
  const start = /^Bearer +([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/i.exec(
    headers.authorization ?? "",
  )?.[1];
  if (start === undefined) return false;
  return /^\s*\{/.test(Buffer.from(start, "base64url").toString("utf8"));
}

async function signOut(
  { revocations }: RevokeTokensDeps,
  request: HttpRequest,
  token: VerifiedToken,
  body: Body,
): Promise<void> {
  if (Object.keys(body ?? {}).length > 0) {
    throw new PetrelError(
      "PETREL_INVALID_REQUEST",
      "A user's token only ends its own session: send no body. To end another, use a producer key.",
    );
  }
  const { userId, sessionId, jti } = token;
  if (sessionId === undefined) await revocations.revokeVerified(token);
  else await revocations.revokeSession(userId, sessionId);
  // Not audited: the log is bounded, and sign-outs, as numerous as users, would push out what operators did.
  request.log.info({ user: userId, session: sessionId, jti }, "signed out");
}

async function revokeAsProducer(
  deps: RevokeTokensDeps,
  request: HttpRequest,
  reply: UnsentAnswer,
  body: Body,
): Promise<void> {
  const { keyId } = producerOf(request);
  const { target, what } = await revokeNamed(deps, reply, keyId, body ?? {});
  request.log.info({ target, what, by: keyId }, "tokens revoked");
  await deps.audit.record({ actor: `key:${keyId}`, action: "token.revoke", target, details: { what } });
}

/** @returns the details for the audit log */
async function revokeNamed(
  deps: RevokeTokensDeps,
  reply: UnsentAnswer,
  keyId: string,
  { userId, jti, exp, token }: NonNullable<Body>,
): Promise<{ readonly target: string; readonly what: string }> {
  const { revocations } = deps;
  const named = [userId, jti, token].filter((one) => one !== undefined);
  if (named.length !== 1 || (exp !== undefined && jti === undefined)) {
    throw new PetrelError(
      "PETREL_INVALID_REQUEST",
      "Give exactly one of userId, jti (with its exp, if known) and token.",
      { details: { field: "body" } },
    );
  }
  if (userId !== undefined) {
    await takeFromLimit(deps, reply, keyId, 1);
    await revocations.revokeUser(userId);
    return { target: userId, what: "all of the user" };
  }
  if (jti !== undefined) {
    const expiresAtMs = exp === undefined ? undefined : exp * 1_000;
    const isShort = revocations.keepMs(expiresAtMs) <= SHORT_MS + revocations.keepMs(0);
    await takeFromLimit(deps, reply, keyId, isShort ? 1 : LONG_COST);
    await revocations.revokeToken(jti, expiresAtMs);
    return { target: jti, what: "token" };
  }
  const verified = await verifyNamed(deps, token ?? "");
  await revocations.revokeVerified(verified);
  return { target: verified.jti, what: "token" };
}

async function takeFromLimit(
  { limit }: RevokeTokensDeps,
  reply: UnsentAnswer,
  keyId: string,
  count: number,
): Promise<void> {
  if (limit.perWindow === 0) return;
  // Capped at the limit: otherwise a limit below ten would never admit it.
  const decision = await limit.limiter.take(keyId, Math.min(count, limit.perWindow));
  if (decision.allowed) return;
  throw refusalByLimit(
    reply,
    revocationsPolicy,
    decision.limit,
    decision.retryAfterMs,
    "Too many revocations with this key: send the tokens themselves, or wait.",
  );
}

/** The token is the request's subject, not its credential, so a bad token is a bad request. */
async function verifyNamed({ verifyToken }: RevokeTokensDeps, token: string): Promise<VerifiedToken> {
  try {
    return await verifyToken(token);
  } catch (error) {
    if (!(error instanceof PetrelError) || error.status !== 401) throw error;
    throw new PetrelError("PETREL_INVALID_REQUEST", `Nothing to revoke: ${error.message}`, {
      details: { field: "body.token" },
      cause: error,
    });
  }
}
