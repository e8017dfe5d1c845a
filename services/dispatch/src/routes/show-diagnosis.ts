// GET /v1/diagnosis: for operators: the facts from which `petrel doctor` finds what is wrong.
// Guarantees: only for the scope admin; changes nothing; names no secret, no file and no person.
import { formatTime, timeSchema } from "@petrel/shared/kernel/http/answer-time";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { producerErrors } from "@petrel/shared/kernel/http/error-schema";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { deadLetterCauses } from "@petrel/shared/protocol/fallback/dead-letter-causes";
import { awaitAnswer } from "@petrel/shared/redis/connection/await-answer";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { authorize } from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import type { Diagnosis } from "../diagnose/read-diagnosis.js";

export interface ShowDiagnosisDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly dispatcherId: string;
  readonly version: string;
  readonly clock: { readonly wallMs: () => number };
  /** Absent in tests of other routes. */
  readonly diagnose?: (() => Promise<Diagnosis>) | undefined;
}

const answerSchema = Type.Object(
  {
    at: timeSchema,
    dispatcher: Type.String(),
    version: Type.String(),
    redis: Type.Array(
      Type.Object({
        server: Type.String(),
        problem: Type.Optional(Type.String({ description: "Why nothing else is known about it." })),
        roundTripMs: Type.Optional(Type.Number()),
        clockAheadMs: Type.Optional(Type.Number({ description: "Its clock minus the dispatcher's." })),
        info: Type.Optional(Type.Record(Type.String(), Type.String(), { description: "Lines of INFO." })),
      }),
      { description: "Each master." },
    ),
    dispatchers: Type.Array(Type.String(), {
      description: "The ids of all that are alive, this one included.",
    }),
    partitions: Type.Object({
      configured: Type.Integer(),
      stored: Type.Optional(Type.Integer({ description: "The number that Redis' data was created with." })),
      owned: Type.Integer({ description: "Partitions with a live owner." }),
    }),
    backlog: Type.Object({
      ready: Type.Integer({ description: "Messages waiting to be handed over." }),
      readyOldestSeconds: Type.Number(),
      wakeLagSeconds: Type.Number(),
      scheduleLagSeconds: Type.Number(),
      lateUsers: Type.Integer({ description: "Sampled users with an old undelivered message." }),
      sampledUsers: Type.Integer(),
      deadLetters: Type.Object(Object.fromEntries(deadLetterCauses.map((cause) => [cause, Type.Integer()]))),
    }),
    ackTimeoutSeconds: Type.Number(),
    channels: Type.Array(
      Type.Object({
        channel: Type.String(),
        probes: Type.Array(
          Type.Object({
            credential: Type.String({ description: "Its name, not the secret." }),
            environment: Type.Optional(Type.String()),
            topic: Type.Optional(Type.String()),
            verdict: Type.String({ description: "good, unreachable, refused, topic-refused or busy." }),
            answer: Type.String({ description: "In the provider's words." }),
            halted: Type.Boolean({ description: "Nothing is sent with it because it was refused." }),
            expiresAt: Type.Optional(Type.String({ format: "date-time", description: "Of a certificate." })),
          }),
        ),
      }),
      { description: "The channels this dispatcher sends through." },
    ),
  },
  { title: "Diagnosis" },
);

export function addShowDiagnosis(app: HttpApp, deps: ShowDiagnosisDeps): void {
  const { authenticator, dispatcherId, version, clock, diagnose } = deps;
  if (diagnose === undefined) return;
  app.get(
    "/v1/diagnosis",
    {
      onRequest: authorize(authenticator, "admin"),
      schema: {
        summary: "Get the facts to diagnose the cluster with (scope: admin)",
        description:
          "About Redis, the partitions, the backlog, and the credentials of fallback channels: Apple and the push services are " +
          "asked about a device that does not exist, WeChat for its own addresses.",
        security: producerSecurity,
        querystring: noQuerySchema,
        response: { 200: answerSchema, ...producerErrors },
      },
    },
    async () => {
      const { redis, dispatchers, partitions, backlog, ackTimeoutMs, channels } =
        await awaitAnswer(diagnose());
      const { readyOldestMs, wakeLagMs, scheduleLagMs, ...counts } = backlog;
      const { stored, ...others } = partitions;
      return {
        at: formatTime(clock.wallMs()),
        dispatcher: dispatcherId,
        version,
        redis: redis.map(({ info, ...facts }) => ({
          ...facts,
          ...(info === undefined ? {} : { info: { ...info } }),
        })),
        dispatchers: [...dispatchers],
        partitions: { ...others, ...(stored === undefined ? {} : { stored }) },
        backlog: {
          ...counts,
          deadLetters: { ...backlog.deadLetters },
          readyOldestSeconds: readyOldestMs / 1_000,
          wakeLagSeconds: wakeLagMs / 1_000,
          scheduleLagSeconds: scheduleLagMs / 1_000,
        },
        ackTimeoutSeconds: ackTimeoutMs / 1_000,
        channels: channels.map(({ channel, probes }) => ({
          channel,
          probes: probes.map(({ isHalted, expiresAtMs, ...probe }) => ({
            ...probe,
            halted: isHalted,
            ...(expiresAtMs === undefined ? {} : { expiresAt: formatTime(expiresAtMs) }),
          })),
        })),
      };
    },
  );
}
