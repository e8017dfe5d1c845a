// /v1/webhooks/:id/…: what operators do with a webhook: rotate its secret, test it, replay events, list its attempts.
// Guarantees: only for the scope admin. After a rotation the old secret also signs for a day. A test changes nothing.
import { randomBytes } from "node:crypto";
import { formatTime } from "@petrel/shared/kernel/http/answer-time";
import { notFoundError, producerErrors } from "@petrel/shared/kernel/http/error-schema";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { DEFAULT_LIMIT } from "@petrel/shared/kernel/http/page-query";
import { parseTime } from "@petrel/shared/kernel/schemas/parse-time";
import { decodeEventCursor } from "@petrel/shared/protocol/events/event-cursor";
import type { WebhookReplay } from "@petrel/shared/redis/webhooks/webhook-record";
import { authorize } from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { postSigned } from "../webhooks/post-signed.js";
import { makeWebhookSecret } from "../webhooks/sender/sign-webhook.js";
import { findWebhook, invalid, noteChange, notFound, type WebhookRoutesDeps } from "./webhook-answers.js";
import * as schemas from "./webhook-schema.js";

const ID_BYTES = 12;
/** How long the old secret signs after a rotation. */
const OVERLAP_MS = 24 * 60 * 60 * 1_000;
/** The most former secrets that sign at the same time. */
const MAX_FORMER = 4;

const tags = ["webhooks"];
const security = producerSecurity;

export function addWebhookActions(app: HttpApp, deps: WebhookRoutesDeps): void {
  const { authenticator, webhooks, partitions } = deps;
  const { store, attempts, secrets, clock } = webhooks;
  const onRequest = authorize(authenticator, "admin");

  app.post(
    "/v1/webhooks/:id/rotate",
    {
      onRequest,
      schema: {
        tags,
        summary: "Give a webhook a new secret (scope: admin)",
        description: "The old one also signs for another 24 hours.",
        security,
        params: schemas.paramsSchema,
        querystring: noQuerySchema,
        body: schemas.noBodySchema,
        response: { 200: schemas.rotatedSchema, ...producerErrors, ...notFoundError },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const secret = makeWebhookSecret();
      const sealedSecret = secrets.seal(id, secret);
      const nowMs = clock.wallMs();
      const record = await store.change(id, (one) => {
        const old = { sealedSecret: one.sealedSecret, untilMs: nowMs + OVERLAP_MS };
        const former = [old, ...one.former.filter(({ untilMs }) => untilMs > nowMs)].slice(0, MAX_FORMER);
        return { ...one, sealedSecret, former };
      });
      if (record === undefined) throw notFound();
      await noteChange(deps, request, { action: "webhook.rotate", target: id });
      return reply.header("cache-control", "no-store").send({ secret });
    },
  );

  app.post(
    "/v1/webhooks/:id/test",
    {
      onRequest,
      schema: {
        tags,
        summary: "Post a batch without events now (scope: admin)",
        description: "Posts once, even if the webhook is paused. The type is `test`. Nothing else changes.",
        security,
        params: schemas.paramsSchema,
        querystring: noQuerySchema,
        body: schemas.noBodySchema,
        response: { 200: schemas.testedSchema, ...producerErrors, ...notFoundError },
      },
    },
    async ({ params: { id } }) => {
      const webhook = await findWebhook(webhooks, id);
      const sender = webhooks.openSender();
      try {
        const body = { type: "test", timestamp: formatTime(clock.wallMs()), data: { items: [] } };
        const post = { sender, webhook, id: `msg_test_${randomBytes(ID_BYTES).toString("base64url")}` };
        const never = new AbortController().signal;
        const { outcome, attempt } = await postSigned(
          webhooks,
          { ...post, body: JSON.stringify(body) },
          never,
        );
        const { status, durationMs, error } = attempt;
        return { delivered: outcome === "delivered", ...leaveOut({ status, error }), durationMs };
      } finally {
        sender.close();
      }
    },
  );

  app.post(
    "/v1/webhooks/:id/replay",
    {
      onRequest,
      schema: {
        tags,
        summary: "Redeliver events from a cursor or a time on (scope: admin)",
        description:
          "Begins in each partition as soon as its owner notices; a paused webhook begins when it is resumed.",
        security,
        params: schemas.paramsSchema,
        querystring: noQuerySchema,
        body: schemas.replaySchema,
        response: { 202: schemas.replayedSchema, ...producerErrors, ...notFoundError },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const after = readStart(request.body.after, partitions.length);
      const record = await store.change(id, (one) => ({
        ...one,
        replay: { number: (one.replay?.number ?? 0) + 1, after },
      }));
      if (record === undefined) throw notFound();
      await noteChange(deps, request, {
        action: "webhook.replay",
        target: id,
        details: { from: typeof after === "number" ? formatTime(after) : "a cursor" },
      });
      return reply.code(202).send({ id });
    },
  );

  app.get(
    "/v1/webhooks/:id/attempts",
    {
      onRequest,
      schema: {
        tags,
        summary: "List the latest attempts (scope: admin)",
        security,
        params: schemas.paramsSchema,
        querystring: schemas.attemptsQuerySchema,
        response: { 200: schemas.attemptPageSchema, ...producerErrors, ...notFoundError },
      },
    },
    async ({ params: { id }, query: { cursor, limit = DEFAULT_LIMIT } }) => {
      await findWebhook(webhooks, id);
      const { items, nextCursor } = await attempts.list(id, cursor, Number(limit));
      return {
        items: items.map(({ atMs, webhookId, status, durationMs, error }) => ({
          at: formatTime(atMs),
          webhookId,
          ...leaveOut({ status, error }),
          durationMs,
        })),
        nextCursor: nextCursor ?? null,
      };
    },
  );
}

/** @throws PetrelError PETREL_INVALID_REQUEST */
function readStart(text: string, partitionCount: number): WebhookReplay["after"] {
  const start = parseTime(text) ?? decodeEventCursor(text, partitionCount);
  if (start === undefined) throw invalid("body/after", "is neither a cursor of GET /v1/events nor a time");
  return start;
}

function leaveOut({
  status,
  error,
}: {
  readonly status: number | undefined;
  readonly error: string | undefined;
}): { status?: number; error?: string } {
  return { ...(status === undefined ? {} : { status }), ...(error === undefined ? {} : { error }) };
}
