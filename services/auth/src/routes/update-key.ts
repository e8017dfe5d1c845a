// PATCH /v1/keys/:id: suspends a producer key, resumes it, or changes its limit.
// Guarantees: takes effect in this process at once, in others within the two seconds of their caches. A revoked key
// stays as it is, and no key can suspend itself. Idempotent: repeating a change leads to the same state.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { conflictError, notFoundError, producerErrors } from "@petrel/shared/kernel/http/error-schema";
import type { AuditAction } from "@petrel/shared/protocol/audit-actions";
import type { AuditDetails } from "@petrel/shared/redis/auth/audit-log";
import { authorize, producerOf } from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import type { ManageKeysDeps } from "../keys/manage-keys-deps.js";
import {
  keyParamsSchema,
  keyViewSchema,
  messagesPerSecondSchema,
  viewKey,
} from "../keys/producer-key-schema.js";

const bodySchema = Type.Object(
  {
    suspended: Type.Optional(
      Type.Boolean({ description: "`true`: its requests are refused with 403 PETREL_KEY_SUSPENDED." }),
    ),
    messagesPerSecond: Type.Optional(
      Type.Union([messagesPerSecondSchema, Type.Null()], {
        description: "The key's own limit; `null`: the common one.",
      }),
    ),
  },
  { title: "KeyChange", additionalProperties: false, minProperties: 1 },
);

interface KeyChange {
  readonly suspended?: boolean;
  readonly messagesPerSecond?: number | "unlimited" | null;
}

export function addUpdateKey(app: HttpApp, deps: ManageKeysDeps): void {
  const { authenticator, producerKeys, audit, clock } = deps;
  app.patch(
    "/v1/keys/:id",
    {
      onRequest: authorize(authenticator, "admin"),
      schema: {
        summary: "Suspend a producer key, or change its limit (scope: admin)",
        description:
          "A key of PRODUCER_KEYS_FILE gets the file's limit again when auth starts; a suspension stays. 409: it is revoked, " +
          "or it is the key that asks.",
        security: producerSecurity,
        querystring: noQuerySchema,
        params: keyParamsSchema,
        body: bodySchema,
        response: { 200: keyViewSchema, ...producerErrors, ...notFoundError, ...conflictError },
      },
    },
    async (request) => {
      const { id } = request.params;
      const change = request.body as KeyChange;
      const by = producerOf(request).keyId;
      const before = await producerKeys.find(id);
      if (before === undefined) throw new PetrelError("PETREL_NOT_FOUND", `There is no producer key ${id}.`);
      if (before.revokedAt !== undefined) {
        throw new PetrelError("PETREL_CONFLICT", `The producer key ${id} is revoked.`);
      }
      if (change.suspended === true && id === by) {
        throw new PetrelError("PETREL_CONFLICT", "A key cannot suspend itself.");
      }
      await producerKeys.update(id, change, new Date(clock.wallMs()));
      authenticator.forget(id);
      for (const [action, details] of actsOf(change)) {
        await audit.record({ actor: `key:${by}`, action, target: id, details });
      }
      request.log.info({ keyId: id, by, ...change }, "producer key changed");
      return viewKey((await producerKeys.find(id)) ?? before, clock.wallMs());
    },
  );
}

function actsOf({ suspended, messagesPerSecond }: KeyChange): [AuditAction, AuditDetails][] {
  return [
    ...(suspended === undefined
      ? []
      : [[suspended ? "key.suspend" : "key.resume", {}] satisfies [AuditAction, AuditDetails]]),
    ...(messagesPerSecond === undefined
      ? []
      : [
          ["key.limit", { messagesPerSecond: messagesPerSecond ?? "default" }] satisfies [
            AuditAction,
            AuditDetails,
          ],
        ]),
  ];
}
