// The body of a message: one schema validates it and documents it.
// Guarantees: unknown fields are refused by name, except inside `data`, `apns` and `wechat`; nothing is coerced.
import { CODE_DEFAULT } from "@petrel/shared/kernel/http/openapi-document";
import { fallbackChannels } from "@petrel/shared/protocol/fallback/fallback-channels";
import { TOPIC_PATTERN, USER_ID_PATTERN } from "@petrel/shared/protocol/messages/ids";
import type { FallbackPolicy } from "@petrel/shared/protocol/messages/stored-message";
import type { Static } from "typebox";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";

export const MAX_RECIPIENTS = 1_000;
const DAY_SECONDS = 24 * 60 * 60;
export const DEFAULT_FALLBACK = "offline";
export const ttlSecondsRange = { minimum: 1, maximum: 30 * DAY_SECONDS, default: 7 * DAY_SECONDS } as const;

const closed = { additionalProperties: false } as const;

const userIdSchema = Type.String({ pattern: USER_ID_PATTERN, description: "A user's name." });

const text = (maxLength: number) => Type.Optional(Type.String({ minLength: 1, maxLength }));
const address = () => text(2_048);
/**
 * http:, https: or relative, as URL parsers read it: they skip spaces and control characters before a scheme, and tabs
 * and newlines within it.
 */
export const NAVIGATE_PATTERN =
  "^(?:[Hh][Tt][Tt][Pp][Ss]?:|(?! |[A-Za-z][A-Za-z0-9+.-]*:))[^\\u0000-\\u001f]*$";
const target = (description: string) =>
  Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 2_048,
      pattern: NAVIGATE_PATTERN,
      description: `${description} An http: or https: URL, or one relative to the page's service worker.`,
    }),
  );
const yesOrNo = () => Type.Optional(Type.Boolean());

/** The members of a notification that a page may show: https://notifications.spec.whatwg.org/#api */
const webSchema = Type.Object(
  {
    navigate: target(
      "What a click opens. It makes the push declarative: Safari shows it without a service worker.",
    ),
    icon: address(),
    image: address(),
    badge: address(),
    tag: text(256),
    lang: text(64),
    dir: Type.Optional(Type.Enum(["auto", "ltr", "rtl"])),
    silent: yesOrNo(),
    requireInteraction: yesOrNo(),
    actions: Type.Optional(
      Type.Array(
        Type.Object(
          {
            action: Type.String({ minLength: 1, maxLength: 256 }),
            title: Type.String({ minLength: 1, maxLength: 256 }),
            icon: address(),
            navigate: target("What a click on this action opens."),
          },
          closed,
        ),
        { maxItems: 8 },
      ),
    ),
    data: Type.Optional(Type.Unknown({ description: "Any JSON, for the page's own code." })),
  },
  { title: "WebNotification", ...closed, description: "Additions for browsers only." },
);

const notificationSchema = Type.Object(
  {
    title: Type.String(),
    body: Type.String(),
    badge: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 })),
    sound: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
    apns: Type.Optional(
      Type.Object({}, { additionalProperties: true, description: "Additions for iPhones only." }),
    ),
    wechat: Type.Optional(
      Type.Object({}, { additionalProperties: true, description: "Additions for WeChat only." }),
    ),
    web: Type.Optional(webSchema),
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
    topic: Type.Optional(Type.String({ pattern: TOPIC_PATTERN, description: "A topic's name." })),
    all: Type.Optional(
      Type.Literal(true, { description: "Everyone who is connected; needs the scope `admin` too." }),
    ),
  },
  { title: "Recipient", ...closed, description: "Exactly one of `user`, `users`, `topic`, `all`." },
);

export const messageSchema = Type.Object(
  {
    to: recipientSchema,
    data: Type.Unknown({ description: "Any JSON, at most 64 KiB as UTF-8. The client gets it unchanged." }),
    ttlSeconds: Type.Optional(
      Type.Integer({
        ...ttlSecondsRange,
        description: "How long after its acceptance, or its `deliverAt`, the message expires.",
      }),
    ),
    priority: Type.Optional(Type.Enum(["high", "normal", "low"], { default: "normal" })),
    idempotencyKey: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 256,
        description:
          "A repeat with the same key, user and content is the same message, stored once. Different content gets 422. " +
          "Each business system has its own keys. They are remembered for at least 24 h.",
      }),
    ),
    fallback: Type.Optional(
      Type.Enum(["offline", "always", "never"], {
        // Filled in by code, because a message to a topic may not have it, not even with this value.
        [CODE_DEFAULT]: DEFAULT_FALLBACK,
        description: "When a fallback channel takes the message; not for topics.",
      }),
    ),
    notification: Type.Optional(notificationSchema),
    channels: Type.Optional(
      Type.Array(Type.Enum([...fallbackChannels]), {
        minItems: 1,
        uniqueItems: true,
        description:
          "Which fallback channels may be asked; all by default. They are asked in the cluster's order, whatever the " +
          "order here. One that is not configured reaches nobody.",
      }),
    ),
    deliverAt: Type.Optional(
      Type.String({
        format: "date-time",
        description:
          "Deliver not before this time, at most 30 days ahead; `ttlSeconds` counts from then. Until then the message is " +
          "`scheduled`. A time in the past changes nothing.",
      }),
    ),
    collapseKey: Type.Optional(
      Type.String({
        pattern: "^[!-~]([ -~]{0,62}[!-~])?$",
        description:
          "Of a user's messages with the same key that are not acknowledged, only the newest stays in the inbox; the " +
          "others end `expired`, with the reason PETREL_COLLAPSED. Of their notifications a phone shows only the " +
          "newest. Printable ASCII, 1 to 64 characters, no space at either end.",
      }),
    ),
  },
  {
    title: "Message",
    ...closed,
    description: "A message.",
    examples: [
      { to: { user: "alice" }, data: { text: "Your order is on its way." } },
      { to: { topic: "room.7" }, data: { score: "2:1" }, ttlSeconds: 60 },
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
type Filled = "ttlSeconds" | "priority";

/** A message that fits its schema, with defaults filled in by the validator. */
export type MessageBody = Omit<Unfilled, Filled> & Required<Pick<Unfilled, Filled>>;

/** The default if the message does not say. */
export function fallbackOf({ fallback = DEFAULT_FALLBACK }: MessageBody): FallbackPolicy {
  return fallback;
}

/** Entries are validated individually, so that a bad one fails alone. */
export const batchSchema = Type.Object(
  {
    messages: Type.Array(Type.Unknown({ description: "Like the body of POST /v1/messages." }), {
      minItems: 1,
      maxItems: MAX_RECIPIENTS,
      description: "At most 1000 recipients in total.",
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
