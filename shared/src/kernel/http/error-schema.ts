// The contract's error shape, for the documentation of routes. The kernel makes the answers, not this schema.
import { Type } from "../schemas/json-schema.js";

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

/** What every route for producers may answer, on top of its own. */
export const producerErrors = {
  400: errorSchema,
  401: errorSchema,
  403: errorSchema,
  503: errorSchema,
} as const;

/** What a route that takes messages may also answer. */
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
