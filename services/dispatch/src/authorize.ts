// First step of every request: is this a producer with the scope admin?
// Guarantees: a route that has this hook runs for no one else.
import { requireScope, type ProducerAuthenticator } from "@petrel/shared/security/authenticate-producer";
import type { FastifyRequest } from "fastify";

/** @returns an `onRequest` hook */
export function authorizeAdmin(authenticator: ProducerAuthenticator) {
  return async (request: FastifyRequest): Promise<void> => {
    requireScope(await authenticator.authenticate(request.headers.authorization), "admin");
  };
}
