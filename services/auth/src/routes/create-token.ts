// POST /v1/tokens: a business system signs one of its users in.
// Guarantees: the session and its tokens carry the user's generation at the time they are stored, so a later revocation
// covers them.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { USER_ID_PATTERN } from "@petrel/shared/protocol/messages/ids";
import { readTopicGrants, type TopicGrant } from "@petrel/shared/protocol/topics/topic-grants";
import type { SessionsStore } from "@petrel/shared/redis/auth/sessions-store";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import type { RefreshTokens } from "@petrel/shared/security/tokens/refresh-token";
import { DEVICE_ID_PATTERN, DEVICE_PLATFORM_PATTERN } from "@petrel/shared/security/tokens/verified-token";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { authorize } from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { errorSchema, producerErrors } from "@petrel/shared/kernel/http/error-schema";
import {
  issueTokens,
  type IssueTokensDeps,
  requireOwnTokens,
  tokenPairSchema,
} from "../tokens/issue-tokens.js";

export interface CreateTokenDeps extends IssueTokensDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly sessions: SessionsStore;
  readonly refreshTokens: RefreshTokens;
}

const DEFAULT_TTL_SECONDS = 3_600;

/** Checked by code, which names the wrong entry; documented-rules describes what it may hold. */
const topicGrantsSchema = Type.Unknown({
  title: "TopicGrants",
  description: "The token's rights to topics. The session keeps them. Without this field, it has none.",
});

const bodySchema = Type.Object(
  {
    userId: Type.String({ pattern: USER_ID_PATTERN }),
    device: Type.Optional(
      Type.Object(
        {
          id: Type.String({ pattern: DEVICE_ID_PATTERN }),
          platform: Type.String({ pattern: DEVICE_PLATFORM_PATTERN, examples: ["web", "ios"] }),
        },
        { title: "TokenDevice", additionalProperties: false },
      ),
    ),
    topics: Type.Optional(topicGrantsSchema),
    ttlSeconds: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 86_400,
        default: DEFAULT_TTL_SECONDS,
        description: "How long each access token of the session is valid; at most a day.",
      }),
    ),
  },
  { title: "NewToken", additionalProperties: false },
);

export function addCreateToken(app: HttpApp, deps: CreateTokenDeps): void {
  const { authenticator, sessions, refreshTokens } = deps;
  app.post(
    "/v1/tokens",
    {
      onRequest: authorize(authenticator, "tokens"),
      schema: {
        tags: ["tokens"],
        summary: "Sign a user in: an access token and a refresh token (scope: tokens)",
        security: producerSecurity,
        querystring: noQuerySchema,
        body: bodySchema,
        response: { 201: tokenPairSchema, ...producerErrors, 409: errorSchema },
      },
    },
    async (request, reply) => {
      const { userId, device, topics, ttlSeconds = DEFAULT_TTL_SECONDS } = request.body;
      const grants = topics === undefined ? {} : { topics: readGrants(topics) };
      requireOwnTokens(deps);
      const content = { ttlSeconds, ...(device === undefined ? {} : { device }), ...grants };
      const first = refreshTokens.open(userId);
      const { sessionId, hash } = first;
      const generation = await sessions.open({ userId, sessionId, hash, content });
      return reply
        .code(201)
        .header("cache-control", "no-store")
        .send(issueTokens(deps, first, generation, content));
    },
  );
}

/** @throws PetrelError PETREL_INVALID_REQUEST naming the part that is wrong */
function readGrants(topics: unknown): readonly TopicGrant[] {
  const read = readTopicGrants(topics);
  if (read.ok) return read.grants;
  const field = `body/topics${read.at}`;
  throw new PetrelError("PETREL_INVALID_REQUEST", `${field}: ${read.problem}`, { details: { field } });
}
