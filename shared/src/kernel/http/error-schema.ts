// The contract's error shape, for the documentation of routes.
// Guarantees: the same for every status; answers are made by the kernel, not by this.
import { Type } from "typebox";

export const errorSchema = Type.Object(
  {
    error: Type.Object({
      code: Type.String({ pattern: "^PETREL_[A-Z_]+$" }),
      message: Type.String(),
      retryable: Type.Boolean({ description: "Whether the same request may succeed later, unchanged." }),
      details: Type.Optional(Type.Object({}, { additionalProperties: true })),
    }),
  },
  { title: "Error", description: "What went wrong; the codes are listed in docs/send/errors.md." },
);

/** What every route for producers may answer besides its own. */
export const producerErrors = {
  400: errorSchema,
  401: errorSchema,
  403: errorSchema,
  503: errorSchema,
} as const;

/** What a route that takes messages may answer besides. */
export const sendErrors = {
  ...producerErrors,
  409: errorSchema,
  413: errorSchema,
  415: errorSchema,
  422: errorSchema,
  429: errorSchema,
  501: errorSchema,
} as const;

export const notFoundError = { 404: errorSchema } as const;
export const conflictError = { 409: errorSchema } as const;
export const notImplementedError = { 501: errorSchema } as const;
