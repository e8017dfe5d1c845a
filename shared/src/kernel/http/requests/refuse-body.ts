// http-app -> here: a route whose schema names no body takes none, or an empty object.
// Guarantees: an unexpected field is refused, never ignored, on every route of every service.
import { PetrelError } from "../../errors.js";

const WITH_A_BODY: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH", "DELETE"]);

/** The parts of a route that matter here. */
interface Route {
  readonly method: string | readonly string[];
  readonly schema?: { readonly body?: unknown } | undefined;
}

/** Whether this route could receive a body that no schema checks. */
export function mayIgnoreBody({ method, schema }: Route): boolean {
  return schema?.body === undefined && [method].flat().some((verb) => WITH_A_BODY.has(verb));
}

/** A `preValidation` hook. @throws PetrelError PETREL_INVALID_REQUEST */
export async function refuseBody({ body }: { readonly body: unknown }): Promise<void> {
  // A Buffer means the route has a parser of its own, and reads the bytes itself.
  if (body === undefined || Buffer.isBuffer(body)) return;
  const isObject = typeof body === "object" && body !== null && !Array.isArray(body);
  const field = isObject ? Object.keys(body)[0] : undefined;
  if (isObject && field === undefined) return;
  const where = field === undefined ? "body" : `body/${field}`;
  throw new PetrelError("PETREL_INVALID_REQUEST", `${where}: this takes no body`, {
    details: { field: where },
  });
}
