// What may stand behind the `?` of a request's target.
// Guarantees: unknown parameters are refused; numbers are checked as the text they are, nothing is coerced.
import { Type } from "typebox";

export const DEFAULT_PAGE_SIZE = 50;

/** For lists of messages by seq. */
export const afterSeqSchema = Type.Object(
  {
    after: Type.Optional(
      Type.String({ pattern: "^\\d{1,15}$", description: "The page begins above this seq; 0 by default." }),
    ),
    limit: Type.Optional(
      Type.String({ pattern: "^([1-9]\\d{0,2}|1000)$", description: "1 to 1000; 50 by default." }),
    ),
  },
  { additionalProperties: false },
);
