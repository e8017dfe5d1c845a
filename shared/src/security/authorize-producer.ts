// Before a request's body is read: is this a producer, and may they do this?
// Guarantees: a route that has this hook runs for no one else; a stranger learns nothing of what the body should be.
import { type Clock, systemClock } from "../kernel/clock.js";
import type { HttpRequest } from "../kernel/http-app.js";
import type { ProducerScope } from "../protocol/producer-scopes.js";
import { type Producer, type ProducerAuthenticator, requireScope } from "./authenticate-producer.js";

const DECORATOR = "producer";
/** How long a credential that was checked counts for the connection it came over. */
const REMEMBERED_MS = 1_000;

interface Decoratable {
  decorateRequest(name: string, value: null): unknown;
}

/** Call once per application, before the routes. */
export function decorateWithProducer(app: Decoratable): void {
  app.decorateRequest(DECORATOR, null);
}

interface Remembered {
  readonly authorization: string;
  readonly producer: Producer;
  readonly untilMs: number;
  readonly forgotten: number;
}

/**
 * A producer that keeps its connection sends the same header with each request: hashing its secret each time costs
 * more than the rest of the check. What was good a moment ago is compared with what this very connection has sent
 * before, so the comparison's time tells nobody anything they did not send themselves.
 * @returns an `onRequest` hook
 */
export function authorize(
  authenticator: ProducerAuthenticator,
  scope: ProducerScope,
  clock: Clock = systemClock,
) {
  const remembered = new WeakMap<object, Remembered>();
  return async (request: HttpRequest): Promise<void> => {
    const { authorization } = request.headers;
    const { socket } = request.raw;
    const known = remembered.get(socket);
    const nowMs = clock.monotonicMs();
    const isGood =
      known !== undefined &&
      known.authorization === authorization &&
      nowMs < known.untilMs &&
      known.forgotten === authenticator.forgotten;
    if (isGood) {
      request.setDecorator(DECORATOR, known.producer);
      return;
    }
    const { forgotten } = authenticator;
    const producer = await authenticator.authenticate(authorization);
    requireScope(producer, scope);
    request.setDecorator(DECORATOR, producer);
    if (authorization !== undefined) {
      remembered.set(socket, { authorization, producer, untilMs: nowMs + REMEMBERED_MS, forgotten });
    }
  };
}

/** Who sent a request that has passed `authorize`. */
export function producerOf(request: HttpRequest): Producer {
  return request.getDecorator<Producer>(DECORATOR);
}
