// routes/webhook-routes -> here: what requests about webhooks and their answers look like.
import { timeSchema } from "@petrel/shared/kernel/http/answer-time";
import { pageFields } from "@petrel/shared/kernel/http/page-query";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { eventTypes } from "@petrel/shared/protocol/events/event-types";
import { ATTEMPT_CURSOR_PATTERN } from "@petrel/shared/redis/webhooks/webhook-attempts";

/** The creation time, ms, and the id of a page's last webhook. */
const LIST_CURSOR_PATTERN = "^[1-9]\\d{0,14}-wh_[A-Za-z0-9_-]{1,40}$";
const MAX_DESCRIPTION = 512;
const MAX_URL = 2_048;

const typeSchema = Type.Union(
  eventTypes.map((type) => Type.Literal(type)),
  { type: "string", enum: [...eventTypes] },
);
const urlSchema = Type.String({
  minLength: 1,
  maxLength: MAX_URL,
  description: "https:. Private and special addresses are refused, unless WEBHOOK_ALLOW_PRIVATE is set.",
});
const typesSchema = Type.Union([Type.Array(typeSchema, { minItems: 1, uniqueItems: true }), Type.Null()], {
  description: "Which events; null, the default, means all that are written.",
});
const descriptionSchema = Type.Union([Type.String({ maxLength: MAX_DESCRIPTION }), Type.Null()]);

export const createSchema = Type.Object(
  {
    url: urlSchema,
    types: Type.Optional(typesSchema),
    description: Type.Optional(descriptionSchema),
  },
  { title: "NewWebhook", additionalProperties: false },
);

export const changeSchema = Type.Object(
  {
    paused: Type.Optional(Type.Boolean({ description: "`false` resumes where it stopped." })),
    url: Type.Optional(urlSchema),
    types: Type.Optional(typesSchema),
    description: Type.Optional(descriptionSchema),
  },
  { title: "WebhookChange", additionalProperties: false },
);

export const replaySchema = Type.Object(
  {
    after: Type.String({
      minLength: 1,
      maxLength: 4_096,
      description: "A cursor of GET /v1/events, or an RFC 3339 time.",
    }),
  },
  { title: "WebhookReplay", additionalProperties: false },
);

export const webhookSchema = Type.Object(
  {
    id: Type.String(),
    url: Type.String(),
    types: Type.Union([Type.Array(Type.String()), Type.Null()]),
    description: Type.Union([Type.String(), Type.Null()]),
    paused: Type.Boolean(),
    pausedReason: Type.Union([Type.String(), Type.Null()], {
      description:
        "`exhausted`: no attempt succeeded for three days · `gone`: the receiver answered 410 · null: not paused, or by an operator",
    }),
    createdAt: timeSchema,
  },
  { title: "Webhook" },
);

export const webhookPageSchema = Type.Object(
  {
    items: Type.Array(webhookSchema, { description: "In order of creation." }),
    nextCursor: Type.Union([Type.String(), Type.Null()]),
  },
  { title: "WebhookPage" },
);

export const createdSchema = Type.Object(
  { id: Type.String(), secret: Type.String({ description: "`whsec_…`: shown only here." }) },
  { title: "WebhookWithSecret" },
);

export const rotatedSchema = Type.Object({ secret: Type.String() }, { title: "WebhookSecret" });

const outcome = {
  status: Type.Optional(Type.Integer()),
  durationMs: Type.Integer(),
  error: Type.Optional(Type.String({ description: "Human-readable." })),
};

export const testedSchema = Type.Object({ delivered: Type.Boolean(), ...outcome }, { title: "WebhookTest" });

export const attemptPageSchema = Type.Object(
  {
    items: Type.Array(
      Type.Object(
        {
          at: timeSchema,
          webhookId: Type.String({ description: "The `webhook-id` that was sent." }),
          ...outcome,
        },
        { title: "WebhookAttempt" },
      ),
      { description: "Newest first; the last thousand." },
    ),
    nextCursor: Type.Union([Type.String(), Type.Null()]),
  },
  { title: "WebhookAttemptPage" },
);

export const replayedSchema = Type.Object({ id: Type.String() }, { title: "WebhookReplayed" });

export const paramsSchema = Type.Object({ id: Type.String({ description: "The webhook's id." }) });
/** For routes that take no body. */
export const noBodySchema = Type.Union([Type.Object({}, { additionalProperties: false }), Type.Null()]);
export const listQuerySchema = Type.Object(pageFields(LIST_CURSOR_PATTERN), { additionalProperties: false });
export const attemptsQuerySchema = Type.Object(pageFields(ATTEMPT_CURSOR_PATTERN), {
  additionalProperties: false,
});
