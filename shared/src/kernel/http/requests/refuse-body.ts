// http-app -> here: routes whose schema names no body take none: there must be none, or an empty object.
// Guarantees: a field is refused, never ignored, whatever the service and the route.
import { PetrelError } from "../../errors.js";

const WITH_A_BODY: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH", "DELETE"]);

/** What the framework knows of a route. */
interface Route {
  readonly method: string | readonly string[];
  readonly schema?: { readonly body?: unknown } | undefined;
}

/** Whether a body could come that no schema checks. */
export function mayIgnoreBody({ method, schema }: Route): boolean {
  return schema?.body === undefined && [method].flat().some((verb) => WITH_A_BODY.has(verb));
}

/** A `preValidation` hook. @throws PetrelError PETREL_INVALID_REQUEST */
export async function refuseBody({ body }: { readonly body: unknown }): Promise<void> {
  // Bytes: the route has a parser of its own, and reads them.
  if (body === undefined || Buffer.isBuffer(body)) return;
  const isObject = typeof body === "object" && body !== null && !Array.isArray(body);
  const field = isObject ? Object.keys(body)[0] : undefined;
  if (isObject && field === undefined) return;
  const where = field === undefined ? "body" : `body/${field}`;
  throw new PetrelError("PETREL_INVALID_REQUEST", `${where}: this takes no body`, {
    details: { field: where },
  });
}
