// POST /v1/tokens/refresh: a client exchanges its refresh token for the next pair.
// Guarantees: all requests with the same token within the leeway get the same successor, in any process. A token used
// by two parties ends the session for both, sockets included. A token that auth did not make changes nothing.
import { errorSchema } from "@petrel/shared/kernel/http/error-schema";
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import type { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import type { SessionsStore } from "@petrel/shared/redis/auth/sessions-store";
import type { RefreshToken, RefreshTokens } from "@petrel/shared/security/tokens/refresh-token";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import {
  issueTokens,
  type IssueTokensDeps,
  requireOwnTokens,
  tokenPairSchema,
} from "../tokens/issue-tokens.js";

export interface RefreshTokenDeps extends IssueTokensDeps {
  readonly sessions: SessionsStore;
  readonly refreshTokens: RefreshTokens;
  readonly audit: AuditLog;
}

const bodySchema = Type.Object(
  { refreshToken: Type.String({ minLength: 1, maxLength: 1_024 }) },
  { title: "RefreshRequest", additionalProperties: false },
);

export function addRefreshToken(app: HttpApp, deps: RefreshTokenDeps): void {
  const { sessions, refreshTokens } = deps;
  app.post(
    "/v1/tokens/refresh",
    {
      schema: {
        tags: ["tokens"],
        summary: "Exchange a refresh token for the next pair",
        description:
          "The token is the credential. If the answer is lost, repeat the request within a few seconds: the same token " +
          "returns the same successor. After that, a spent token ends its session: PETREL_REFRESH_REUSED.",
        security: [],
        querystring: noQuerySchema,
        body: bodySchema,
        response: {
          200: tokenPairSchema,
          400: errorSchema,
          401: errorSchema,
          409: errorSchema,
          503: errorSchema,
        },
      },
    },
    async (request, reply) => {
      void reply.header("cache-control", "no-store");
      requireOwnTokens(deps);
      const presented = refreshTokens.read(request.body.refreshToken);
      if (presented === undefined) {
        throw new PetrelError("PETREL_TOKEN_INVALID", "This is not a refresh token of this cluster.");
      }
      const successors = refreshTokens.successorsOf(presented);
      const [first, ...further] = successors;
      const { userId, sessionId, number, hash } = presented;
      const result = await sessions.refresh({
        userId,
        sessionId,
        number,
        hash,
        successorHashes: [first.hash, ...further.map((successor) => successor.hash)],
      });
      switch (result.outcome) {
        case "rotated":
        case "again":
          return issueTokens(deps, successors[result.successor] ?? first, result.generation, result.content);
        case "reused":
          // Audited once: otherwise one such token could flood the audit log and push other entries out.
          if (result.isFirst) {
            request.log.warn(
              { user: userId, session: sessionId, number },
              "spent refresh token: session revoked",
            );
            await noteReuse(deps, presented);
          }
          throw new PetrelError(
            "PETREL_REFRESH_REUSED",
            "A spent refresh token of this session was used again, so somebody else may have it: sign in again.",
          );
        case "revoked":
          throw new PetrelError("PETREL_TOKEN_REVOKED", "The session was revoked: sign in again.");
        default:
          throw new PetrelError("PETREL_TOKEN_EXPIRED", "The session has expired: sign in again.");
      }
    },
  );
}

async function noteReuse({ audit }: RefreshTokenDeps, { userId, sessionId }: RefreshToken): Promise<void> {
  await audit.record({
    actor: "system",
    action: "token.revoke",
    target: userId,
    details: { session: sessionId, reason: "refresh token reused" },
  });
}
