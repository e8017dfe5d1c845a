// What a producer may ask for: the schema that validates a message is the one that documents it.
// Guarantees: unknown fields are refused by name, except inside `data`, `apns` and `wechat`; nothing is coerced.
import { TOPIC_PATTERN, USER_ID_PATTERN } from "@petrel/shared/protocol/messages/ids";
import type { Static } from "typebox";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";

export const MAX_RECIPIENTS = 1_000;
const DAY_SECONDS = 24 * 60 * 60;

const closed = { additionalProperties: false } as const;

const userIdSchema = Type.String({ pattern: USER_ID_PATTERN, description: "A user's name." });

const notificationSchema = Type.Object(
  {
    title: Type.String(),
    body: Type.String(),
    badge: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 })),
    sound: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
    apns: Type.Optional(
      Type.Object({}, { additionalProperties: true, description: "What only an iPhone gets." }),
    ),
    wechat: Type.Optional(
      Type.Object({}, { additionalProperties: true, description: "What only WeChat gets." }),
    ),
  },
  { title: "Notification", ...closed, description: "What a fallback channel shows; at most 8 KiB as JSON." },
);

/** One object instead of a union, so that an error names the wrong field. */
const recipientSchema = Type.Object(
  {
    user: Type.Optional(userIdSchema),
    users: Type.Optional(
      Type.Array(userIdSchema, { minItems: 1, maxItems: MAX_RECIPIENTS, uniqueItems: true }),
    ),
    topic: Type.Optional(Type.String({ pattern: TOPIC_PATTERN, description: "Not built yet: 501." })),
    all: Type.Optional(Type.Literal(true, { description: "Not built yet: 501." })),
  },
  { title: "Recipient", ...closed, description: "Exactly one of `user`, `users`, `topic`, `all`." },
);

export const messageSchema = Type.Object(
  {
    to: recipientSchema,
    data: Type.Unknown({ description: "Any JSON, at most 64 KiB as UTF-8; reaches the client as it is." }),
    ttlSeconds: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 30 * DAY_SECONDS,
        default: 7 * DAY_SECONDS,
        description: "How long the message is worth delivering, from its acceptance.",
      }),
    ),
    priority: Type.Optional(Type.Enum(["high", "normal", "low"], { default: "normal" })),
    idempotencyKey: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 256,
        description:
          "The same key, to the same user, with the same content: the same message, stored once. With other " +
          "content: 422. Keys are the business system's own, and remembered for at least 24 h.",
      }),
    ),
    fallback: Type.Optional(
      Type.Enum(["offline", "always", "never"], {
        default: "offline",
        description: "When a fallback channel takes the message.",
      }),
    ),
    notification: Type.Optional(notificationSchema),
    deliverAt: Type.Optional(Type.String({ format: "date-time", description: "Not built yet: 501." })),
    collapseKey: Type.Optional(
      Type.String({
        pattern: "^[!-~]([ -~]{0,62}[!-~])?$",
        description:
          "Of a user's notifications with the same key a phone shows the newest alone. Printable ASCII, 1 to 64 " +
          "characters, no space at either end. Without a `notification` there is nothing to collapse.",
      }),
    ),
  },
  {
    title: "Message",
    ...closed,
    description: "A message.",
    examples: [
      { to: { user: "alice" }, data: { text: "Your order is on its way." } },
      {
        to: { users: ["alice", "bob"] },
        data: { order: 4711, state: "shipped" },
        ttlSeconds: 3_600,
        idempotencyKey: "order-4711-shipped",
        notification: { title: "Order 4711", body: "On its way." },
      },
    ],
  },
);

type Unfilled = Static<typeof messageSchema>;
type Filled = "ttlSeconds" | "priority" | "fallback";

/** A message that fits its schema; the validator has filled in the defaults. */
export type MessageBody = Omit<Unfilled, Filled> & Required<Pick<Unfilled, Filled>>;

/** Its entries are validated one by one, so that a bad one fails alone. */
export const batchSchema = Type.Object(
  {
    messages: Type.Array(Type.Unknown({ description: "As the body of POST /v1/messages." }), {
      minItems: 1,
      maxItems: MAX_RECIPIENTS,
      description: "With at most 1000 recipients in all.",
    }),
  },
  {
    title: "Batch",
    ...closed,
    examples: [
      {
        messages: [
          { to: { user: "alice" }, data: 1 },
          { to: { user: "bob" }, data: 2 },
        ],
      },
    ],
  },
);
