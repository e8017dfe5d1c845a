// For routes that take no query parameters.
// Guarantees: an unknown parameter is refused, as is an unknown field of a body.
import { Type } from "typebox";

export const noQuerySchema = Type.Object({}, { additionalProperties: false });
