// For routes that take nothing behind the `?` of a request's target.
// Guarantees: an unknown parameter is refused, as an unknown field of a body is.
import { Type } from "typebox";

export const noQuerySchema = Type.Object({}, { additionalProperties: false });
