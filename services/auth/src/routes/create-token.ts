// POST /v1/tokens: a business system asks for a token for one of its users.
// Guarantees: the token carries the user's generation of this moment, so that a later revocation covers it.
import type { HttpApp } from "@petrel/shared/kernel/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/no-query-schema";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { USER_ID_PATTERN } from "@petrel/shared/protocol/ids";
import type { TokenGenerationStore } from "@petrel/shared/redis/token-generation-store";
import type { ProducerAuthenticator } from "@petrel/shared/security/authenticate-producer";
import type { SignToken } from "@petrel/shared/security/sign-token";
import { DEVICE_ID_PATTERN, DEVICE_PLATFORM_PATTERN } from "@petrel/shared/security/verified-token";
import { Type } from "typebox";
import { authorize } from "@petrel/shared/security/authorize-producer";
import { errorSchema, producerErrors } from "@petrel/shared/kernel/error-schema";
import type { SigningKeyring } from "../signing-keyring.js";

export interface CreateTokenDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly generations: TokenGenerationStore;
  readonly keyring: SigningKeyring;
  readonly signToken: SignToken;
}

const DEFAULT_TTL_SECONDS = 3_600;

const bodySchema = Type.Object(
  {
    userId: Type.String({ pattern: USER_ID_PATTERN }),
    device: Type.Optional(
      Type.Object(
        {
          id: Type.String({ pattern: DEVICE_ID_PATTERN }),
          platform: Type.String({ pattern: DEVICE_PLATFORM_PATTERN, examples: ["web", "ios"] }),
        },
        { additionalProperties: false },
      ),
    ),
    topics: Type.Optional(Type.Array(Type.String(), { maxItems: 1_000 })),
    ttlSeconds: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 86_400,
        default: DEFAULT_TTL_SECONDS,
        description: "How long it is good; a day at most.",
      }),
    ),
  },
  { additionalProperties: false },
);

const answerSchema = Type.Object(
  {
    accessToken: Type.String({ description: "A compact JWT, for a push node." }),
    expiresIn: Type.Integer({ description: "Seconds." }),
    tokenType: Type.Literal("Bearer"),
  },
  { additionalProperties: false },
);

export function addCreateToken(app: HttpApp, deps: CreateTokenDeps): void {
  const { authenticator, generations, keyring, signToken } = deps;
  app.post(
    "/v1/tokens",
    {
      onRequest: authorize(authenticator, "tokens"),
      schema: {
        summary: "Make an access token for a user (scope: tokens)",
        security: [{ bearer: [] }],
        querystring: noQuerySchema,
        body: bodySchema,
        response: { 201: answerSchema, ...producerErrors, 501: errorSchema },
      },
    },
    async (request, reply) => {
      const { userId, device, topics, ttlSeconds = DEFAULT_TTL_SECONDS } = request.body;
      if (topics !== undefined) {
        throw new PetrelError("PETREL_NOT_IMPLEMENTED", "Tokens with topics are not built yet.");
      }
      const generation = await generations.read(userId);
      const { token } = signToken(keyring.active, { userId, generation, ttlSeconds, device });
      return reply
        .code(201)
        .header("cache-control", "no-store")
        .send({ accessToken: token, expiresIn: ttlSeconds, tokenType: "Bearer" });
    },
  );
}
