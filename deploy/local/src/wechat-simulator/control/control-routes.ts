// The WeChat simulator's control API: what arrived, the tokens, and WeChat's behaviour from now on.
// Guarantees: absent members stay as they were; what arrived is listed unchanged and in order.
import { formatTime } from "@petrel/shared/kernel/http/answer-time";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import type { ReceivedMessage } from "../state/received-messages.js";
import type { Simulation } from "../state/simulation.js";

const closed = { additionalProperties: false } as const;

const answerSchema = Type.Object(
  {
    errcode: Type.Integer({ minimum: -1, maximum: 999_999 }),
    errmsg: Type.Optional(Type.String({ maxLength: 512 })),
    times: Type.Optional(
      Type.Integer({ minimum: 1, description: "for so many requests; without it until it is taken back" }),
    ),
  },
  closed,
);
const answerOrNull = Type.Optional(Type.Union([answerSchema, Type.Null()]));
const latency = Type.Optional(Type.Integer({ minimum: 0, maximum: 600_000 }));
const limit = Type.Optional(
  Type.Object({ perMinute: Type.Integer({ minimum: 0 }), perDay: Type.Integer({ minimum: 0 }) }, closed),
);

const behaviourSchema = Type.Object(
  {
    latencyMs: latency,
    tokenLatencyMs: latency,
    blackhole: Type.Optional(Type.Boolean({ description: "requests are read, and never answered" })),
    answer: answerOrNull,
    tokenAnswer: answerOrNull,
    aheadSeconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 100_000_000,
        description: "what its clock is ahead of this machine's",
      }),
    ),
    limits: Type.Optional(
      Type.Object({ stableToken: limit, forcedToken: limit, legacyToken: limit, send: limit }, closed),
    ),
  },
  closed,
);
const openidParams = Type.Object({ openid: Type.String({ pattern: "^[A-Za-z0-9_-]{1,128}$" }) });
const userSchema = Type.Object(
  {
    answer: answerOrNull,
    refuses: Type.Optional(Type.Array(Type.String(), { maxItems: 100 })),
    follows: Type.Optional(Type.Boolean()),
  },
  { ...closed, minProperties: 1 },
);
const templateSchema = Type.Object(
  { fields: Type.Array(Type.String({ pattern: "^[a-z][a-z_]*\\d*$" }), { minItems: 1, maxItems: 50 }) },
  closed,
);
const templateParams = Type.Object({ appid: Type.String(), template: Type.String() });
const revokeSchema = Type.Union([Type.Object({ appid: Type.Optional(Type.String()) }, closed), Type.Null()]);

export function addControlRoutes(app: HttpApp, simulation: Simulation): void {
  const { messages, tokens, behaviour } = simulation;
  const noQuery = { querystring: noQuerySchema };
  const ofOpenid = { ...noQuery, params: openidParams };

  app.get("/users", { schema: noQuery }, () => messages.openids());
  app.get("/users/:openid/messages", { schema: ofOpenid }, ({ params }) =>
    messages.list(params.openid).map(shown),
  );
  app.put("/users/:openid", { schema: { ...ofOpenid, body: userSchema } }, ({ params, body }, reply) => {
    const { answer, ...rest } = body;
    const { answer: before, ...known } = simulation.user(params.openid);
    const now = answer === undefined ? before : (answer ?? undefined);
    simulation.changeUser(params.openid, {
      ...known,
      ...rest,
      ...(now === undefined ? {} : { answer: now }),
    });
    return reply.code(204).send();
  });
  app.delete("/messages", { schema: noQuery }, (_request, reply) => {
    messages.clear();
    return reply.code(204).send();
  });

  app.get("/tokens", { schema: noQuery }, () => {
    const nowMs = simulation.nowMs();
    return tokens
      .list()
      .map(({ appid, token, interface: kind, issuedAtMs, expiresAtMs, isRevoked, fetches }) => ({
        appid,
        token,
        interface: kind,
        issuedAt: formatTime(issuedAtMs),
        expiresAt: formatTime(expiresAtMs),
        good: !isRevoked && expiresAtMs > nowMs,
        fetches,
      }));
  });
  app.post("/tokens/revoke", { schema: { ...noQuery, body: Type.Optional(revokeSchema) } }, ({ body }) => ({
    revoked: tokens.revoke(body?.appid, simulation.nowMs()),
  }));

  app.put(
    "/apps/:appid/templates/:template",
    { schema: { ...noQuery, params: templateParams, body: templateSchema } },
    ({ params, body }, reply) => {
      const known = simulation.apps.get(params.appid);
      known?.templates.set(params.template, body.fields);
      return reply.code(known === undefined ? 404 : 204).send();
    },
  );
  app.get("/apps", { schema: noQuery }, () =>
    [...simulation.apps.values()].map(({ appid, kind, templates }) => ({
      appid,
      kind,
      templates: Object.fromEntries(templates),
    })),
  );

  app.get("/behaviour", { schema: noQuery }, () => ({
    latencyMs: behaviour.latencyMs,
    tokenLatencyMs: behaviour.tokenLatencyMs,
    blackhole: behaviour.blackhole,
    answer: behaviour.answer ?? null,
    tokenAnswer: behaviour.tokenAnswer ?? null,
    aheadSeconds: simulation.aheadMs / 1_000,
    limits: simulation.limits,
  }));
  app.put("/behaviour", { schema: { ...noQuery, body: behaviourSchema } }, ({ body }, reply) => {
    const { answer, tokenAnswer, aheadSeconds, limits, ...rest } = body;
    Object.assign(behaviour, rest);
    if (answer !== undefined) behaviour.answer = answer ?? undefined;
    if (tokenAnswer !== undefined) behaviour.tokenAnswer = tokenAnswer ?? undefined;
    if (aheadSeconds !== undefined) simulation.aheadMs = aheadSeconds * 1_000;
    simulation.limits = { ...simulation.limits, ...limits };
    return reply.code(204).send();
  });
  app.get("/stats", { schema: noQuery }, () => ({
    answers: Object.fromEntries(simulation.answers),
    messages: messages.count,
    repeats: messages.repeats,
    tokens: tokens.list().length,
    tokenFetches: tokens.list().reduce((sum, { fetches }) => sum + fetches, 0),
  }));
}

function shown({ atMs, msgid, appid, kind, request, times }: ReceivedMessage) {
  const { template_id: templateId, data, url, miniprogram, page, client_msg_id: clientMsgId } = request;
  return {
    at: formatTime(atMs),
    msgid,
    appid,
    kind,
    templateId,
    data,
    url,
    miniprogram,
    page,
    clientMsgId,
    times,
  };
}
