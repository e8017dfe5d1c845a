// /v1/channels: for operators: the fallback channels, what waits for each, and pausing one.
// Guarantees: only for the scope admin. Messages for a paused channel wait, and none is lost. Pausing and resuming are
// idempotent. The audit log names who did it.
import { formatTime, timeSchema } from "@petrel/shared/kernel/http/answer-time";
import { producerErrors } from "@petrel/shared/kernel/http/error-schema";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { fallbackChannels } from "@petrel/shared/protocol/fallback/fallback-channels";
import type { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { awaitAnswer } from "@petrel/shared/redis/connection/await-answer";
import { type FallbackBacklog, readFallbackBacklog } from "@petrel/shared/redis/fallback/fallback-queue";
import {
  findUnconfirmed,
  pauseChannel,
  readPausedChannels,
  resumeChannel,
} from "@petrel/shared/redis/fallback/paused-channels-store";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { readDispatchers } from "@petrel/shared/redis/partitions/dispatcher-members";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { authorize, producerOf } from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";

export interface ChannelRoutesDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly audit: AuditLog;
  readonly scripts: ScriptRunner;
  readonly partitions: readonly PartitionKeys[];
  readonly clock: { readonly wallMs: () => number };
}

const paramsSchema = Type.Object({ channel: Type.Enum([...fallbackChannels]) });

const answerSchema = Type.Object(
  {
    items: Type.Array(
      Type.Object({
        channel: Type.String(),
        paused: Type.Union([
          Type.Object({ since: timeSchema, by: Type.String(), reason: Type.String() }),
          Type.Null(),
        ]),
        waiting: Type.Integer({ description: "Messages in its queue, including those being sent." }),
        retries: Type.Integer({ description: "Messages waiting for a retry." }),
        oldestSeconds: Type.Number(),
      }),
    ),
    unsorted: Type.Integer({
      description:
        "Messages in the common queue, not yet assigned to a channel; with a single channel they are its own.",
    }),
    unconfirmed: Type.Array(Type.String(), {
      description: "Dispatchers that have not yet confirmed the current pauses.",
    }),
  },
  { title: "FallbackChannels" },
);

export function addChannelRoutes(app: HttpApp, deps: ChannelRoutesDeps): void {
  const { authenticator, audit, scripts, clock } = deps;
  const { redis } = scripts;
  const onRequest = authorize(authenticator, "admin");
  const tags = ["channels"];
  const security = producerSecurity;

  const describe = async () => {
    const [paused, unconfirmed, ...backlogs] = await Promise.all([
      readPausedChannels(redis),
      readDispatchers(redis).then((dispatchers) => findUnconfirmed(redis, dispatchers)),
      ...[undefined, ...fallbackChannels].map((channel) => readBacklog(deps, channel)),
    ]);
    const [unsorted, ...ofChannels] = backlogs;
    return {
      items: fallbackChannels.map((channel, i) => {
        const pause = paused.get(channel);
        return {
          channel,
          paused:
            pause === undefined
              ? null
              : { since: formatTime(pause.atMs), by: pause.by, reason: pause.reason },
          ...(ofChannels[i] ?? nothing),
        };
      }),
      unsorted: (unsorted?.waiting ?? 0) + (unsorted?.retries ?? 0),
      unconfirmed,
    };
  };

  app.get(
    "/v1/channels",
    {
      onRequest,
      schema: {
        tags,
        summary: "List the fallback channels and what waits for each (scope: admin)",
        security,
        querystring: noQuerySchema,
        response: { 200: answerSchema, ...producerErrors },
      },
    },
    () => awaitAnswer(describe()),
  );

  app.post(
    "/v1/channels/:channel/pause",
    {
      onRequest,
      schema: {
        tags,
        summary: "Pause a fallback channel in the whole cluster (scope: admin)",
        description:
          "Within two seconds no dispatcher starts a send through it. Its messages wait until it is resumed or their TTL is over; " +
          "no other channel is asked instead. It outlasts restarts.",
        security,
        params: paramsSchema,
        querystring: noQuerySchema,
        body: Type.Union([
          Type.Object(
            { reason: Type.Optional(Type.String({ maxLength: 200 })) },
            { additionalProperties: false },
          ),
          Type.Null(),
        ]),
        response: { 200: answerSchema, ...producerErrors },
      },
    },
    async (request) => {
      const { channel } = request.params;
      const { reason = "" } = request.body ?? {};
      const by = producerOf(request).keyId;
      const isNew = await awaitAnswer(pauseChannel(redis, channel, { atMs: clock.wallMs(), by, reason }));
      if (isNew) {
        await audit.record({
          actor: `key:${by}`,
          action: "channel.pause",
          target: channel,
          details: { reason },
        });
      }
      return awaitAnswer(describe());
    },
  );

  app.post(
    "/v1/channels/:channel/resume",
    {
      onRequest,
      schema: {
        tags,
        summary: "Let a fallback channel send again (scope: admin)",
        security,
        params: paramsSchema,
        querystring: noQuerySchema,
        response: { 200: answerSchema, ...producerErrors },
      },
    },
    async (request) => {
      const { channel } = request.params;
      const by = producerOf(request).keyId;
      if (await awaitAnswer(resumeChannel(redis, channel))) {
        await audit.record({ actor: `key:${by}`, action: "channel.resume", target: channel });
      }
      return awaitAnswer(describe());
    },
  );
}

const nothing = { waiting: 0, retries: 0, oldestSeconds: 0 };

async function readBacklog(
  { scripts, partitions, clock }: ChannelRoutesDeps,
  channel: string | undefined,
): Promise<typeof nothing> {
  const all = await Promise.all(partitions.map((keys) => readFallbackBacklog(scripts.redis, keys, channel)));
  const sum = (of: (one: FallbackBacklog) => number): number =>
    all.reduce((total, one) => total + of(one), 0);
  const oldest = Math.min(...all.map(({ oldestAtMs = Infinity }) => oldestAtMs));
  return {
    waiting: sum(({ queued: { high, normal, low } }) => high + normal + low),
    retries: sum(({ retries }) => retries),
    oldestSeconds: oldest === Infinity ? 0 : Math.max(0, clock.wallMs() - oldest) / 1_000,
  };
}
