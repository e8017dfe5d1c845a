// POST /v1/tickets: a page that cannot send headers gets a credential for its WebSocket's URL.
// Guarantees: valid once, for seconds, and never longer than the token that asked for it; revoked with that token.
import type { Clock } from "@petrel/shared/kernel/clock";
import { errorSchema } from "@petrel/shared/kernel/http/error-schema";
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import type { TicketsStore } from "@petrel/shared/redis/auth/tickets-store";
import type { VerifiedToken } from "@petrel/shared/security/tokens/verified-token";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { authorizeUser, type AuthorizeUserDeps, tokenOf } from "../tokens/authorize-user.js";

export interface CreateTicketDeps extends AuthorizeUserDeps {
  readonly tickets: TicketsStore<VerifiedToken>;
  readonly clock: Clock;
}

const TTL_SECONDS = 30;

const answerSchema = Type.Object(
  {
    ticket: Type.String({ description: "For a push node's `?ticket=`. Works once." }),
    expiresIn: Type.Integer({
      description: `Seconds: ${TTL_SECONDS}, or less if the token expires sooner.`,
    }),
  },
  { title: "Ticket", additionalProperties: false },
);

export function addCreateTicket(app: HttpApp, deps: CreateTicketDeps): void {
  const { tickets, clock } = deps;
  app.post(
    "/v1/tickets",
    {
      onRequest: authorizeUser(deps),
      schema: {
        tags: ["tokens"],
        summary: "Create a one-time ticket to connect with (user token)",
        description: "Takes no body, or an empty object.",
        security: [{ bearer: [] }],
        querystring: noQuerySchema,
        body: Type.Union([Type.Object({}, { additionalProperties: false }), Type.Null()]),
        response: { 201: answerSchema, 400: errorSchema, 401: errorSchema, 503: errorSchema },
      },
    },
    async (request, reply) => {
      const token = tokenOf(request);
      const leftMs = Math.min(TTL_SECONDS * 1_000, token.expiresAtMs - clock.wallMs());
      if (leftMs < 1)
        throw new PetrelError("PETREL_TOKEN_EXPIRED", "The token has expired: get a fresh one.");
      const ticket = await tickets.issue(token, Math.floor(leftMs));
      return reply
        .code(201)
        .header("cache-control", "no-store")
        .send({ ticket, expiresIn: Math.ceil(leftMs / 1_000) });
    },
  );
}
