// GET /v1/audit: who did what to whom, for operators.
// Guarantees: needs the scope admin; newest first; no secrets or tokens, because none are written.
import { formatTime, timeSchema } from "@petrel/shared/kernel/http/answer-time";
import { producerErrors } from "@petrel/shared/kernel/http/error-schema";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { DEFAULT_LIMIT, pageFields } from "@petrel/shared/kernel/http/page-query";
import { auditActions } from "@petrel/shared/protocol/audit-actions";
import { AUDIT_ID_PATTERN, type AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { erasedUserTarget } from "@petrel/shared/redis/erasure/erased-user-target";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { authorize } from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";

export interface ListAuditDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly audit: AuditLog;
}

const name = Type.String({ minLength: 1, maxLength: 512 });

const querySchema = Type.Object(
  {
    actor: Type.Optional(name),
    action: Type.Optional(
      Type.Union(
        auditActions.map((action) => Type.Literal(action)),
        { type: "string", enum: [...auditActions] },
      ),
    ),
    target: Type.Optional(name),
    ...pageFields(AUDIT_ID_PATTERN),
  },
  { additionalProperties: false },
);

const pageSchema = Type.Object(
  {
    items: Type.Array(
      Type.Object(
        {
          id: Type.String(),
          at: timeSchema,
          actor: Type.String({ description: "`key:ID`, `user:ID`, `file` or `system`." }),
          action: Type.String({ description: auditActions.join(", ") }),
          target: Type.String({ description: "The id of what was acted on." }),
          details: Type.Record(Type.String(), Type.Union([Type.String(), Type.Number(), Type.Boolean()])),
        },
        { title: "AuditEntry" },
      ),
      { description: "Newest first. With a filter, a page may be short, even empty, although more follow." },
    ),
    nextCursor: Type.Union([Type.String(), Type.Null()]),
  },
  { title: "AuditPage" },
);

export function addListAudit(app: HttpApp, { authenticator, audit }: ListAuditDeps): void {
  app.get(
    "/v1/audit",
    {
      onRequest: authorize(authenticator, "admin"),
      schema: {
        tags: ["audit"],
        summary: "List what operators and users did, newest first (scope: admin)",
        description:
          "Filters match exactly. A user's id also finds that user's erasure, which only stores a hash of the id.",
        security: producerSecurity,
        querystring: querySchema,
        response: { 200: pageSchema, ...producerErrors },
      },
    },
    async ({ query: { actor, action, target, cursor, limit = DEFAULT_LIMIT } }) => {
      const page = await audit.list({
        cursor,
        limit: Number(limit),
        ...(actor === undefined ? {} : { actor }),
        ...(action === undefined ? {} : { action }),
        ...(target === undefined ? {} : { targets: [target, erasedUserTarget(target)] }),
      });
      return {
        items: page.items.map(({ atMs, ...entry }) => ({ ...entry, at: formatTime(atMs) })),
        nextCursor: page.nextCursor ?? null,
      };
    },
  );
}
