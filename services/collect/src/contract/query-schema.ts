// What may stand behind the `?` of a request's target.
// Guarantees: unknown parameters are refused; numbers are checked as the text they are, nothing is coerced.
import { limitSchema } from "@petrel/shared/kernel/http/page-query";
import { Type } from "typebox";

/** For lists of messages by seq. */
export const afterSeqSchema = Type.Object(
  {
    after: Type.Optional(
      Type.String({ pattern: "^\\d{1,15}$", description: "The page begins above this seq; 0 by default." }),
    ),
    limit: Type.Optional(limitSchema),
  },
  { additionalProperties: false },
);
