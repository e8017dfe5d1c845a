// Before routes that take no body: there must be none, or an empty object.
// Guarantees: a field is refused, never ignored.
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { FastifyRequest } from "fastify";

/** A `preValidation` hook. @throws PetrelError PETREL_INVALID_REQUEST */
export async function refuseBody({ body }: FastifyRequest): Promise<void> {
  if (body === undefined) return;
  const isObject = typeof body === "object" && body !== null && !Array.isArray(body);
  const field = isObject ? Object.keys(body)[0] : undefined;
  if (isObject && field === undefined) return;
  const where = field === undefined ? "body" : `body/${field}`;
  throw new PetrelError("PETREL_INVALID_REQUEST", `${where}: this takes no body`, {
    details: { field: where },
  });
}
