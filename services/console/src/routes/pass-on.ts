// Turns a service's answer into the console's.
// Guarantees: status and body unchanged; never cached.
import type { FastifyReply } from "fastify";
import type { ServiceAnswer } from "../call-service.js";

export function passOn(reply: FastifyReply, { status, body, retryAfter }: ServiceAnswer): FastifyReply {
  if (retryAfter !== undefined) void reply.header("retry-after", retryAfter);
  return reply.code(status).header("cache-control", "no-store").type("application/json").send(body);
}
