// POST /v1/introspect: is this user's token valid right now? (RFC 7662)
// Guarantees: a revoked token is inactive at once; the answer for an inactive token reveals nothing else.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { writeTopicGrants } from "@petrel/shared/protocol/topics/topic-grants";
import type { TokenRevocations } from "@petrel/shared/redis/auth/token-revocations";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import type { VerifiedToken, VerifyToken } from "@petrel/shared/security/tokens/verified-token";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { authorize } from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { errorSchema, producerErrors } from "@petrel/shared/kernel/http/error-schema";

export interface IntrospectDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly revocations: TokenRevocations;
  readonly verifyToken: VerifyToken;
  readonly issuer: string;
  readonly audience: string;
  readonly external: { readonly audience: string } | undefined;
}

const bodySchema = Type.Object(
  {
    token: Type.String({ minLength: 1, maxLength: 32_768 }),
    token_type_hint: Type.Optional(Type.String({ maxLength: 128 })),
  },
  { title: "IntrospectRequest", additionalProperties: false },
);

const inactiveSchema = Type.Object(
  { active: Type.Literal(false) },
  { title: "InactiveToken", additionalProperties: false },
);
const activeSchema = Type.Object(
  {
    active: Type.Literal(true),
    token_type: Type.Literal("Bearer"),
    iss: Type.String(),
    aud: Type.String(),
    sub: Type.String({ description: "The user's id." }),
    iat: Type.Integer(),
    exp: Type.Integer(),
    jti: Type.String(),
    typ: Type.Literal("access"),
    gen: Type.Integer({ description: "The user's token generation." }),
    sid: Type.Optional(
      Type.String({ description: "The session. Tokens that auth did not issue have none." }),
    ),
    device: Type.Optional(
      Type.Object({ id: Type.String(), platform: Type.String() }, { additionalProperties: false }),
    ),
    topics: Type.Optional(
      Type.Array(
        Type.Union([
          Type.String(),
          Type.Object(
            { topic: Type.String(), can: Type.Array(Type.String()) },
            { additionalProperties: false },
          ),
        ]),
        { description: "The token's rights to topics, as requested." },
      ),
    ),
  },
  { title: "ActiveToken", additionalProperties: false },
);

export function addIntrospect(app: HttpApp, deps: IntrospectDeps): void {
  // In a scope of its own: no other route accepts forms.
  void app.register(async (scope: HttpApp) => {
    scope.addContentTypeParser(
      "application/x-www-form-urlencoded",
      { parseAs: "string" },
      async (_request: unknown, body: string) => readForm(body),
    );
    scope.post(
      "/v1/introspect",
      {
        onRequest: authorize(deps.authenticator, "introspect"),
        schema: {
          summary: "Check a user's token (RFC 7662; scope: introspect)",
          description: "The body is a form, or JSON with the same fields.",
          security: producerSecurity,
          querystring: noQuerySchema,
          consumes: ["application/x-www-form-urlencoded", "application/json"],
          body: bodySchema,
          response: {
            200: Type.Union([inactiveSchema, activeSchema]),
            ...producerErrors,
            415: errorSchema,
          },
        },
      },
      async (request, reply) => {
        void reply.header("cache-control", "no-store");
        const token = await readActive(request.body.token, deps);
        return token === undefined ? { active: false as const } : describeToken(token, deps);
      },
    );
  });
}

function readForm(body: string): Readonly<Record<string, string>> {
  const parameters = new URLSearchParams(body);
  const names = [...parameters.keys()];
  // RFC 6749 3.1: parameters must not be repeated.
  if (new Set(names).size !== names.length) {
    throw new PetrelError("PETREL_INVALID_REQUEST", "A form field occurs twice.");
  }
  return Object.fromEntries(parameters);
}

async function readActive(text: string, deps: IntrospectDeps): Promise<VerifiedToken | undefined> {
  let token: VerifiedToken;
  try {
    token = await deps.verifyToken(text);
  } catch (error) {
    if (error instanceof PetrelError && error.status === 401) return undefined;
    throw error;
  }
  return (await deps.revocations.isRevoked(token)) ? undefined : token;
}

function describeToken(token: VerifiedToken, { issuer, audience, external }: IntrospectDeps) {
  const { userId, issuedAtMs, expiresAtMs, jti, generation, sessionId, device, topics } = token;
  return {
    active: true as const,
    token_type: "Bearer" as const,
    iss: token.issuer ?? issuer,
    aud: token.issuer === undefined ? audience : (external?.audience ?? audience),
    sub: userId,
    // Whole seconds; RFC 7519 allows fractions.
    iat: Math.floor(issuedAtMs / 1000),
    exp: Math.floor(expiresAtMs / 1000),
    jti,
    typ: "access" as const,
    gen: generation,
    ...(sessionId === undefined ? {} : { sid: sessionId }),
    ...(device === undefined ? {} : { device }),
    ...(topics === undefined ? {} : { topics: writeTopicGrants(topics) }),
  };
}
