// The APNs simulator's control API: its behaviour towards everybody.
// Guarantees: absent members stay as they were. `goaway` and `blackhole` act at once, on the connections that are open
// at that moment.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { answerSchema, readAnswer } from "./answer-schema.js";
import type { ApnsServer } from "../apns/apns-server.js";
import type { Behaviour } from "../state/behaviour.js";
import type { ProviderTokens } from "../state/provider-tokens.js";

interface BehaviourDeps {
  readonly behaviour: Behaviour;
  readonly providerTokens: ProviderTokens;
  readonly server: ApnsServer;
}

const connections = Type.Optional(
  Type.Integer({ minimum: 1, description: "so many of the connections open now, the busiest first" }),
);

const behaviourSchema = Type.Object(
  {
    latencyMs: Type.Optional(Type.Integer({ minimum: 0, maximum: 600_000 })),
    maxConcurrentStreams: Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000 })),
    goaway: Type.Optional(
      Type.Union([
        Type.Boolean(),
        Type.Object(
          {
            connections,
            lastStream: Type.Optional(
              Type.Union([Type.Literal("newest"), Type.Literal("middle"), Type.Literal("none")]),
            ),
          },
          { additionalProperties: false },
        ),
      ]),
    ),
    blackhole: Type.Optional(
      Type.Union([
        Type.Boolean({ description: "true: connections open now and from now on; false: no more of them" }),
        Type.Object(
          { connections, delivering: Type.Optional(Type.Boolean()) },
          { additionalProperties: false },
        ),
      ]),
    ),
    answer: Type.Optional(Type.Union([answerSchema, Type.Null()])),
    environment: Type.Optional(
      Type.Union([Type.Literal("production"), Type.Literal("sandbox"), Type.Null()], {
        description: "of the tokens of which nothing was said; null: both",
      }),
    ),
    minTokenUpdateSeconds: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 86_400, description: "between the provider tokens of a key" }),
    ),
  },
  { additionalProperties: false },
);

export function addBehaviourRoutes(app: HttpApp, deps: BehaviourDeps): void {
  const { behaviour, providerTokens, server } = deps;

  app.get("/behaviour", { schema: { querystring: noQuerySchema } }, () => ({
    ...behaviour.describe(),
    minTokenUpdateSeconds: providerTokens.minUpdateSeconds,
  }));

  app.put(
    "/behaviour",
    { schema: { body: behaviourSchema, querystring: noQuerySchema } },
    (request, reply) => {
      const { goaway, blackhole, answer, minTokenUpdateSeconds, ...rest } = request.body;
      behaviour.change({
        ...rest,
        ...(answer === undefined ? {} : { answer: answer === null ? null : readAnswer(answer) }),
      });
      if (minTokenUpdateSeconds !== undefined) providerTokens.minUpdateSeconds = minTokenUpdateSeconds;
      if (rest.maxConcurrentStreams !== undefined) server.allowStreams();
      if (typeof goaway === "object") server.goAway(goaway);
      else if (goaway === true) server.goAway({});
      if (typeof blackhole === "object") {
        // With a number of connections, only existing ones are swallowed.
        if (blackhole.connections === undefined) behaviour.swallowsNew = blackhole;
        server.swallow(blackhole);
      } else if (blackhole !== undefined) {
        behaviour.swallowsNew = blackhole ? {} : undefined;
        if (blackhole) server.swallow({});
      }
      return reply.code(204).send();
    },
  );
}
