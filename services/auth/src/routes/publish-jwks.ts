// GET /.well-known/jwks.json: the public keys that verify users' tokens.
// Guarantees: public parts only, and never a symmetric key; open to everyone.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import type { SigningKeyring } from "../keys/signing-keyring.js";

const MAX_AGE_SECONDS = 300;

const jwkSchema = Type.Object(
  {
    kid: Type.String(),
    alg: Type.Enum(["ES256", "RS256"]),
    use: Type.Literal("sig"),
    kty: Type.String(),
    crv: Type.Optional(Type.String()),
    x: Type.Optional(Type.String()),
    y: Type.Optional(Type.String()),
    n: Type.Optional(Type.String()),
    e: Type.Optional(Type.String()),
  },
  { title: "PublicKey", additionalProperties: false },
);

export function addPublishJwks(app: HttpApp, { keyring }: { readonly keyring: SigningKeyring }): void {
  app.get(
    "/.well-known/jwks.json",
    {
      schema: {
        summary: "Get the public keys of users' tokens (RFC 7517)",
        security: [],
        querystring: noQuerySchema,
        response: { 200: Type.Object({ keys: Type.Array(jwkSchema) }, { additionalProperties: false }) },
      },
    },
    (_request, reply) => {
      void reply.header("cache-control", `public, max-age=${MAX_AGE_SECONDS}`);
      return { keys: [...keyring.publicJwks] };
    },
  );
}
