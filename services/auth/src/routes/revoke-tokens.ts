// POST /v1/tokens/revoke: a user signs out; a business system ends a token, or everything of a user.
// Guarantees: answered when it is written and every node has been told; from then on no service takes the token, and its
// sockets close. Again and again without harm.
import { producerErrors } from "@petrel/shared/kernel/error-schema";
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpApp, HttpRequest } from "@petrel/shared/kernel/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/no-query-schema";
import { USER_ID_PATTERN } from "@petrel/shared/protocol/ids";
import type { AuditLog } from "@petrel/shared/redis/audit-log";
import type { ProducerAuthenticator } from "@petrel/shared/security/authenticate-producer";
import { authorize, producerOf } from "@petrel/shared/security/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producer-security";
import { TOKEN_ID_PATTERN, type VerifiedToken } from "@petrel/shared/security/verified-token";
import { type Static, Type } from "typebox";
import { authorizeUser, type AuthorizeUserDeps, tokenIfAny } from "../authorize-user.js";

export interface RevokeTokensDeps extends AuthorizeUserDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly audit: AuditLog;
}

const bodySchema = Type.Union([
  Type.Object(
    {
      userId: Type.Optional(
        Type.String({
          pattern: USER_ID_PATTERN,
          description: "All of the user's tokens and sessions so far.",
        }),
      ),
      jti: Type.Optional(Type.String({ pattern: TOKEN_ID_PATTERN, description: "This one token." })),
    },
    { additionalProperties: false },
  ),
  // No body at all.
  Type.Null(),
]);

type Body = Static<typeof bodySchema>;

export function addRevokeTokens(app: HttpApp, deps: RevokeTokensDeps): void {
  const asUser = authorizeUser(deps);
  const asProducer = authorize(deps.authenticator, "tokens");
  app.post(
    "/v1/tokens/revoke",
    {
      onRequest: (request) => (bringsUserToken(request) ? asUser(request) : asProducer(request)),
      schema: {
        tags: ["tokens"],
        summary: "Sign out (user token), or revoke a token or all of a user's (scope: tokens)",
        description:
          "With a user's token, and no body: ends its session. With a producer key: `userId` or `jti`. Sockets close " +
          "with 4403, on every node.",
        security: producerSecurity,
        querystring: noQuerySchema,
        body: bodySchema,
        response: { 204: Type.Null(), ...producerErrors },
      },
    },
    async (request, reply) => {
      const token = tokenIfAny(request);
      const body: Body | undefined = request.body;
      if (token === undefined) await revokeAsProducer(deps, request, body ?? null);
      else await signOut(deps, request, token, body ?? null);
      return reply.code(204).send(null);
    },
  );
}

/** A compact JWS begins with a JSON object (RFC 7515 section 7.1); no producer's credential does. */
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
      "A user's token ends its own session: send no body. Another's takes a producer key.",
    );
  }
  const { userId, sessionId, jti } = token;
  if (sessionId === undefined) await revocations.revokeVerified(token);
  else await revocations.revokeSession(userId, sessionId);
  // Not for the audit log, which is bounded: there are as many of these as users, and operators' acts must not give way.
  request.log.info({ user: userId, session: sessionId, jti }, "signed out");
}

async function revokeAsProducer(
  { revocations, audit }: RevokeTokensDeps,
  request: HttpRequest,
  body: Body,
): Promise<void> {
  const { userId, jti } = body ?? {};
  if ((userId === undefined) === (jti === undefined)) {
    throw new PetrelError("PETREL_INVALID_REQUEST", "Say which: either userId or jti.", {
      details: { field: "body" },
    });
  }
  const { keyId } = producerOf(request);
  if (userId !== undefined) await revocations.revokeUser(userId);
  else if (jti !== undefined) await revocations.revokeToken(jti);
  request.log.info({ user: userId, jti, by: keyId }, "tokens revoked");
  await audit.record({
    actor: `key:${keyId}`,
    action: "token.revoke",
    target: userId ?? jti ?? "",
    details: { what: userId === undefined ? "token" : "all of the user" },
  });
}
