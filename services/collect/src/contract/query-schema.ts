// The query parameters of collect's lists.
// Guarantees: unknown parameters are refused; numbers are checked as text, nothing is coerced.
import { limitSchema } from "@petrel/shared/kernel/http/page-query";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";

/** For lists of messages by seq. */
export const afterSeqSchema = Type.Object(
  {
    after: Type.Optional(
      Type.String({ pattern: "^\\d{1,15}$", description: "The page starts after this seq; 0 by default." }),
    ),
    limit: Type.Optional(limitSchema),
  },
  { additionalProperties: false },
);

/** For lists of a topic's messages by offset. */
export const afterOffsetSchema = Type.Object(
  {
    after: Type.Optional(
      Type.String({
        pattern: "^\\d{1,15}$",
        description: "The page begins above this offset; 0 by default.",
      }),
    ),
    limit: Type.Optional(limitSchema),
  },
  { additionalProperties: false },
);
