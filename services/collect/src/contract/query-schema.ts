// The query parameters of collect's lists.
// Guarantees: unknown parameters are refused; numbers are checked as text, nothing is coerced.
import { limitSchema } from "@petrel/shared/kernel/http/page-query";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";

/** `nextCursor` of a list of scheduled messages, see users/list-scheduled. */
export const SCHEDULE_CURSOR_PATTERN = "^\\d{1,15}-[0-9a-f]{15}[A-Za-z0-9_-]{1,64}$";

/** For lists of a user's messages: by seq, or the scheduled ones by time. */
export const userMessagesQuerySchema = Type.Object(
  {
    state: Type.Optional(
      Type.Enum(["scheduled"], {
        description: "`scheduled`: the scheduled messages, by time, with `cursor` instead of `after`.",
      }),
    ),
    after: Type.Optional(
      Type.String({ pattern: "^\\d{1,15}$", description: "The page starts after this seq; 0 by default." }),
    ),
    cursor: Type.Optional(
      Type.String({ pattern: SCHEDULE_CURSOR_PATTERN, description: "`nextCursor` of the previous page." }),
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
