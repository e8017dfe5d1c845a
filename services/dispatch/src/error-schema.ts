// The contract's error shape, for the documentation of routes.
// Guarantees: the same for every status; answers are made by the kernel, not by this.
import { Type } from "typebox";

export const errorSchema = Type.Object(
  {
    error: Type.Object(
      {
        code: Type.String({ pattern: "^PETREL_[A-Z_]+$" }),
        message: Type.String(),
        retryable: Type.Boolean(),
        details: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
      },
      { additionalProperties: false },
    ),
  },
  { additionalProperties: false },
);

/** What every route may answer besides its own. */
export const adminErrors = {
  400: errorSchema,
  401: errorSchema,
  403: errorSchema,
  503: errorSchema,
} as const;
