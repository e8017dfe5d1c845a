// GET /v1/signing-keys, POST /v1/signing-keys/rotate: operators see and rotate the keys that sign users' tokens.
// Guarantees: a planned rotation invalidates no token. An immediate one, for a compromised key, invalidates every token
// signed by another key. An addition to the contract.
import { errorSchema, producerErrors } from "@petrel/shared/kernel/http/error-schema";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import type { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { authorize, producerOf } from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { signingKeySchema, viewSigningKey } from "../keys/signing-key-schema.js";
import type { SigningKeyTimes } from "../keys/signing-key-set.js";
import type { SigningKeyring } from "../keys/signing-keyring.js";

export interface SigningKeysDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly keyring: SigningKeyring;
  readonly keyTimes: SigningKeyTimes;
  readonly audit: AuditLog;
}

const tags = ["signing keys"];
const security = producerSecurity;

const listSchema = Type.Object(
  {
    items: Type.Array(signingKeySchema),
    nextCursor: Type.Null({ description: "Always null: there are few keys, and all are listed." }),
  },
  { title: "SigningKeyPage", additionalProperties: false },
);

const rotateSchema = Type.Union([
  Type.Object(
    {
      immediately: Type.Optional(
        Type.Boolean({
          description: "For a compromised key: tokens signed by all former keys stop working.",
        }),
      ),
    },
    { title: "SigningKeyRotation", additionalProperties: false },
  ),
  // Allows a missing body.
  Type.Null(),
]);

export function addSigningKeys(app: HttpApp, deps: SigningKeysDeps): void {
  const { authenticator, keyring, keyTimes, audit } = deps;
  const onRequest = authorize(authenticator, "admin");

  app.get(
    "/v1/signing-keys",
    {
      onRequest,
      schema: {
        tags,
        summary: "List the keys that sign users' tokens (scope: admin)",
        security,
        querystring: noQuerySchema,
        response: { 200: listSchema, ...producerErrors },
      },
    },
    async () => ({
      items: (await keyring.list()).map((key) => viewSigningKey(key, keyTimes)),
      nextCursor: null,
    }),
  );

  app.post(
    "/v1/signing-keys/rotate",
    {
      onRequest,
      schema: {
        tags,
        summary: "Add the next signing key (scope: admin)",
        description:
          "It is published now, and signs once every verifier must have it. Asking again meanwhile returns the same key.",
        security,
        querystring: noQuerySchema,
        body: rotateSchema,
        response: { 200: signingKeySchema, ...producerErrors, 409: errorSchema },
      },
    },
    async (request) => {
      const immediately = request.body?.immediately === true;
      const key = await keyring.rotate({ immediately });
      const { keyId } = producerOf(request);
      request.log.warn({ kid: key.kid, immediately, by: keyId }, "signing keys rotated");
      await audit.record({
        actor: `key:${keyId}`,
        action: "signing-key.rotate",
        target: key.kid,
        details: { immediately },
      });
      return viewSigningKey(key, keyTimes);
    },
  );
}
