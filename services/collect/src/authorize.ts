// First step of every request: is this a producer, and may they do this?
// Guarantees: a route that has this hook runs for no one else, and reads no body of a stranger.
import type { ProducerScope } from "@petrel/shared/protocol/producer-scopes";
import {
  type Producer,
  type ProducerAuthenticator,
  requireScope,
} from "@petrel/shared/security/authenticate-producer";
import type { FastifyInstance, FastifyRequest } from "fastify";

const DECORATOR = "producer";

/** Call once per application, before the routes. */
export function decorateWithProducer(app: Pick<FastifyInstance, "decorateRequest">): void {
  app.decorateRequest(DECORATOR, null);
}

/** @returns an `onRequest` hook */
export function authorize(authenticator: ProducerAuthenticator, scope: ProducerScope) {
  return async (request: FastifyRequest): Promise<void> => {
    const producer = await authenticator.authenticate(request.headers.authorization);
    requireScope(producer, scope);
    request.setDecorator(DECORATOR, producer);
  };
}

/** Who sent a request that has passed `authorize`. */
export function producerOf(request: FastifyRequest): Producer {
  return request.getDecorator<Producer>(DECORATOR);
}
