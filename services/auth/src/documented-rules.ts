// auth's routes -> here -> kernel/openapi-document: rules that code checks beyond the schemas.
// Guarantees: documentation only. The code that checks a rule names the field that breaks it.
import { MAX_TOPIC_GRANTS, topicRights } from "@petrel/shared/protocol/topics/topic-grants";
import { TOPIC_PATTERN_PATTERN } from "@petrel/shared/protocol/topics/topic-name";
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
        ...none("openid", "appid", "subscription"),
      },
      {
        properties: { platform: { const: "wechat" } },
        ...only("platform", "openid", "appid"),
        ...none("token", "topic", "environment", "subscription"),
      },
      {
        properties: { platform: { const: "web" } },
        ...only("platform", "subscription"),
        ...none("token", "topic", "environment", "openid", "appid"),
      },
    ],
  },
  /** routes/create-key: a key that must sign is also allowed to */
  NewProducerKey: {
    not: { properties: { signing: { const: false } }, ...only("require", "signing") },
  },
  /** routes/create-token */
  TopicGrants: {
    type: "array",
    maxItems: MAX_TOPIC_GRANTS,
    items: {
      anyOf: [
        { type: "string", pattern: TOPIC_PATTERN_PATTERN, description: "May be subscribed." },
        {
          type: "object",
          properties: {
            topic: { type: "string", pattern: TOPIC_PATTERN_PATTERN },
            can: { type: "array", minItems: 1, uniqueItems: true, items: { enum: [...topicRights] } },
          },
          ...only("topic", "can"),
          additionalProperties: false,
        },
      ],
    },
    examples: [["news", "room.*", { topic: "room.7", can: ["subscribe", "publish", "presence"] }]],
  },
};
