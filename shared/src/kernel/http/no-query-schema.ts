// For routes that take no query parameters.
// Guarantees: an unknown parameter is refused, as is an unknown field of a body.
import { Type } from "../schemas/json-schema.js";

export const noQuerySchema = Type.Object({}, { additionalProperties: false });
