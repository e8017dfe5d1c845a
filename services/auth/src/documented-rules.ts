// auth's routes -> here -> kernel/openapi-document: what their code checks beyond their schemas.
// Guarantees: documentation only. The code that checks a rule names the field that breaks it.
import type { DocumentedRules } from "@petrel/shared/kernel/http/openapi-document";

const only = (...names: string[]) => ({ required: names });
const none = (...names: string[]) => ({ not: { anyOf: names.map((name) => only(name)) } });

/** By the schema's title. */
export const documentedRules: DocumentedRules = {
  /** routes/revoke-tokens */
  Revocation: {
    oneOf: [only("userId"), only("jti"), only("token")],
    dependentRequired: { exp: ["jti"] },
  },
  /** device-schema */
  NewDevice: {
    oneOf: [
      {
        properties: { platform: { const: "ios" } },
        ...only("platform", "token", "topic", "environment"),
        ...none("openid", "appid"),
      },
      {
        properties: { platform: { const: "wechat" } },
        ...only("platform", "openid", "appid"),
        ...none("token", "topic", "environment"),
      },
    ],
  },
  /** routes/create-key: a key that must sign may sign */
  NewProducerKey: {
    not: { properties: { signing: { const: false } }, ...only("require", "signing") },
  },
  /** routes/create-token */
  NewToken: { not: { ...only("topics"), description: "`topics` are not built yet: 501." } },
};
