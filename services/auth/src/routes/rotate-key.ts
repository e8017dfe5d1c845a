// POST /v1/keys/:id/rotate: a producer key gets a new secret.
// Guarantees: the old secret ends with its overlap: in this process at once, in others within the two seconds of their
// caches. A revoked key stays revoked.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { hashProducerSecret, makeProducerSecret } from "@petrel/shared/security/producers/producer-keys";
import { authorize, producerOf } from "@petrel/shared/security/producers/authorize-producer";
import { errorSchema, producerErrors } from "@petrel/shared/kernel/http/error-schema";
import { rotateProducerKey } from "@petrel/shared/redis/producers/rotate-producer-key";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { sealProducerSecret } from "@petrel/shared/security/producers/seal-producer-secret";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import type { ManageKeysDeps } from "../keys/manage-keys-deps.js";
import { keyParamsSchema, keyWithSecretSchema, viewKey } from "../keys/producer-key-schema.js";
import { repeatUntilAnswered } from "../keys/repeat-until-answered.js";

const MAX_OVERLAP_SECONDS = 2_592_000;

const bodySchema = Type.Object(
  {
    overlapSeconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: MAX_OVERLAP_SECONDS,
        description:
          "How long the old secret still works, at most 30 days. 0, the default, ends it and all earlier secrets at once.",
      }),
    ),
  },
  { title: "KeyRotation", additionalProperties: false },
);

export function addRotateKey(app: HttpApp, deps: ManageKeysDeps): void {
  const { authenticator, producerKeys, scripts, cipher, audit, clock } = deps;
  app.post(
    "/v1/keys/:id/rotate",
    {
      onRequest: authorize(authenticator, "admin"),
      schema: {
        summary: "Give a producer key a new secret (scope: admin)",
        description:
          "The body is optional. After a 503 the new secret may be in force although nobody has it: rotate again. With an " +
          "overlap, the old secret works meanwhile.",
        security: producerSecurity,
        querystring: noQuerySchema,
        params: keyParamsSchema,
        body: Type.Union([bodySchema, Type.Null()]),
        response: { 200: keyWithSecretSchema, ...producerErrors, 404: errorSchema, 409: errorSchema },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { overlapSeconds = 0 } = request.body ?? {};
      const secret = makeProducerSecret();
      const newSecret = {
        secretSha256: hashProducerSecret(secret),
        sealedSecret: sealProducerSecret(cipher, id, secret),
        overlapMs: overlapSeconds * 1_000,
        rotatedAt: new Date(clock.wallMs()),
      };
      const outcome = await repeatUntilAnswered(() => rotateProducerKey(scripts, id, newSecret));
      if (outcome === "missing") throw new PetrelError("PETREL_NOT_FOUND", `There is no producer key ${id}.`);
      if (outcome === "revoked") {
        throw new PetrelError("PETREL_CONFLICT", `The producer key ${id} is revoked.`);
      }
      authenticator.forget(id);
      const by = producerOf(request).keyId;
      await audit.record({
        actor: `key:${by}`,
        action: "key.rotate",
        target: id,
        details: { overlapSeconds },
      });
      request.log.info({ keyId: id, overlapSeconds, by }, "producer key rotated");
      const record = await repeatUntilAnswered(() => producerKeys.find(id));
      if (record === undefined) throw new PetrelError("PETREL_NOT_FOUND", `There is no producer key ${id}.`);
      return reply.header("cache-control", "no-store").send({ ...viewKey(record, clock.wallMs()), secret });
    },
  );
}
