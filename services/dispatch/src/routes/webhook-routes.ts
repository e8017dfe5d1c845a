// /v1/webhooks: for operators: make, list, change and remove the addresses that events are posted to.
// Guarantees: only for the scope admin. A secret is shown once, when it is made. A literal private address is refused
// here. A confirmed change is stored, and all dispatchers notice it within a second.
import { randomBytes } from "node:crypto";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { formatTime } from "@petrel/shared/kernel/http/answer-time";
import { conflictError, notFoundError, producerErrors } from "@petrel/shared/kernel/http/error-schema";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { DEFAULT_LIMIT } from "@petrel/shared/kernel/http/page-query";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { type EventType, eventTypes } from "@petrel/shared/protocol/events/event-types";
import { awaitAnswer } from "@petrel/shared/redis/connection/await-answer";
import { readServerTimeMs } from "@petrel/shared/redis/connection/server-time";
import { dropWebhookProgress } from "@petrel/shared/redis/webhooks/webhook-progress";
import type { WebhookRecord } from "@petrel/shared/redis/webhooks/webhook-record";
import { MAX_WEBHOOKS } from "@petrel/shared/redis/webhooks/webhooks-store";
import { authorize } from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { problemOfUrl } from "../webhooks/sender/check-url.js";
import { makeWebhookSecret } from "../webhooks/sender/sign-webhook.js";
import { findWebhook, invalid, noteChange, notFound, type WebhookRoutesDeps } from "./webhook-answers.js";
import * as schemas from "./webhook-schema.js";

const ID_BYTES = 12;
const tags = ["webhooks"];
const security = producerSecurity;

export function addWebhooks(app: HttpApp, deps: WebhookRoutesDeps): void {
  const { authenticator, webhooks, scripts, partitions } = deps;
  const { store, attempts, secrets, allowPrivate } = webhooks;
  const onRequest = authorize(authenticator, "admin");
  const checkUrl = (url: string): void => {
    const problem = problemOfUrl(url, allowPrivate);
    if (problem !== undefined) throw invalid("body/url", problem);
  };
  const checkTypes = (types: readonly string[] | null): readonly EventType[] | null => {
    const unwritten = types?.find((type) => !deps.writtenEvents.some((written) => written === type));
    if (unwritten !== undefined)
      throw invalid("body/types", `${unwritten} is not in EVENTS, so it is never written`);
    return types === null ? null : eventTypes.filter((type) => types.includes(type));
  };

  app.post(
    "/v1/webhooks",
    {
      onRequest,
      schema: {
        tags,
        summary: "Create a webhook: an address that events are posted to (scope: admin)",
        description: `Delivery begins with events from now on. There may be at most ${MAX_WEBHOOKS}.`,
        security,
        querystring: noQuerySchema,
        body: schemas.createSchema,
        response: { 201: schemas.createdSchema, ...producerErrors, ...conflictError },
      },
    },
    async (request, reply) => {
      const { url, types = null, description = null } = request.body;
      checkUrl(url);
      const wanted = checkTypes(types);
      const id = `wh_${randomBytes(ID_BYTES).toString("base64url")}`;
      const secret = makeWebhookSecret();
      const sealedSecret = secrets.seal(id, secret);
      const outcome = await store.create({
        id,
        url,
        types: wanted,
        description,
        paused: false,
        pausedReason: null,
        createdAtMs: await awaitAnswer(readServerTimeMs(scripts.redis)),
        sealedSecret,
        former: [],
        era: 0,
        replay: null,
      });
      if (outcome === "full") {
        throw new PetrelError("PETREL_CONFLICT", `There are ${MAX_WEBHOOKS} webhooks: remove one first.`);
      }
      await noteChange(deps, request, {
        action: "webhook.create",
        target: id,
        details: { host: new URL(url).host },
      });
      return reply.code(201).header("cache-control", "no-store").send({ id, secret });
    },
  );

  app.get(
    "/v1/webhooks",
    {
      onRequest,
      schema: {
        tags,
        summary: "List webhooks (scope: admin)",
        security,
        querystring: schemas.listQuerySchema,
        response: { 200: schemas.webhookPageSchema, ...producerErrors },
      },
    },
    async ({ query: { cursor, limit = DEFAULT_LIMIT } }) => {
      const { records } = await store.list();
      const left = cursor === undefined ? records : records.filter((one) => isBehind(one, cursor));
      const page = left.slice(0, Number(limit));
      const last = page.at(-1);
      const isEnd = last === undefined || last === left.at(-1);
      return { items: page.map(describe), nextCursor: isEnd ? null : `${last.createdAtMs}-${last.id}` };
    },
  );

  app.get(
    "/v1/webhooks/:id",
    {
      onRequest,
      schema: {
        tags,
        summary: "Show a webhook (scope: admin)",
        security,
        params: schemas.paramsSchema,
        querystring: noQuerySchema,
        response: { 200: schemas.webhookSchema, ...producerErrors, ...notFoundError },
      },
    },
    async ({ params: { id } }) => describe(await findWebhook(webhooks, id)),
  );

  app.patch(
    "/v1/webhooks/:id",
    {
      onRequest,
      schema: {
        tags,
        summary: "Change, pause or resume a webhook (scope: admin)",
        description: "Absent fields stay as they are. A resumed webhook continues where it stopped.",
        security,
        params: schemas.paramsSchema,
        querystring: noQuerySchema,
        body: schemas.changeSchema,
        response: { 200: schemas.webhookSchema, ...producerErrors, ...notFoundError },
      },
    },
    async (request) => {
      const { id } = request.params;
      const { paused, url, types, description } = request.body;
      if (url !== undefined) checkUrl(url);
      const wanted = types === undefined ? undefined : checkTypes(types);
      const record = await store.change(id, (one) => {
        const isResumed = one.paused && paused === false;
        const isElsewhere = url !== undefined && url !== one.url;
        return {
          ...one,
          ...(url === undefined ? {} : { url }),
          ...(wanted === undefined ? {} : { types: wanted }),
          ...(description === undefined ? {} : { description }),
          ...(paused === undefined ? {} : { paused }),
          ...(paused === false ? { pausedReason: null } : {}),
          era: one.era + (isResumed || isElsewhere ? 1 : 0),
        };
      });
      if (record === undefined) throw notFound();
      await noteChange(deps, request, {
        action: "webhook.update",
        target: id,
        details: {
          fields: Object.keys(request.body).join(" "),
          ...(paused === undefined ? {} : { paused }),
          ...(url === undefined ? {} : { host: new URL(url).host }),
        },
      });
      return describe(record);
    },
  );

  app.delete(
    "/v1/webhooks/:id",
    {
      onRequest,
      schema: {
        tags,
        summary: "Remove a webhook (scope: admin)",
        security,
        params: schemas.paramsSchema,
        querystring: noQuerySchema,
        response: { 204: Type.Null(), ...producerErrors, ...notFoundError },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      if (!(await store.remove(id))) throw notFound();
      await dropWebhookProgress(scripts, partitions, id);
      await attempts.remove(id);
      await noteChange(deps, request, { action: "webhook.delete", target: id });
      return reply.code(204).send(null);
    },
  );
}

/** Orders by the list's own order, whether or not the cursor's webhook still exists. */
function isBehind({ createdAtMs, id }: WebhookRecord, cursor: string): boolean {
  const dash = cursor.indexOf("-");
  const lastMs = Number(cursor.slice(0, dash));
  return createdAtMs > lastMs || (createdAtMs === lastMs && id > cursor.slice(dash + 1));
}

function describe({ id, url, types, description, paused, pausedReason, createdAtMs }: WebhookRecord) {
  return {
    id,
    url,
    types: types === null ? null : [...types],
    description,
    paused,
    pausedReason,
    createdAt: formatTime(createdAtMs),
  };
}
