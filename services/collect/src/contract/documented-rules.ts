// collect's routes -> here -> kernel/openapi-document: rules that code checks beyond the schemas.
// Guarantees: documentation only. The code that checks a rule names the field that breaks it.
import type { DocumentedRules } from "@petrel/shared/kernel/http/openapi-document";
import { MAX_RECIPIENTS } from "./message-schema.js";

/** By the schema's title. */
export const documentedRules: DocumentedRules = {
  /** check-message */
  Recipient: {
    oneOf: ["user", "users", "topic", "all"].map((name) => ({ required: [name] })),
  },
  /** check-message: a topic has no phone */
  Message: {
    not: {
      required: ["to"],
      properties: { to: { anyOf: [{ required: ["topic"] }, { required: ["all"] }] } },
      anyOf: ["fallback", "notification", "collapseKey", "channels"].map((name) => ({ required: [name] })),
    },
  },
  /** batch-routes: each is validated alone, and fails alone */
  Batch: {
    properties: {
      messages: {
        type: "array",
        minItems: 1,
        maxItems: MAX_RECIPIENTS,
        items: { $ref: "#/components/schemas/Message" },
        description: `At most ${MAX_RECIPIENTS} recipients in total. A wrong entry fails alone.`,
      },
    },
  },
};
