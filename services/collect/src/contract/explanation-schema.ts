// message-routes, explain-message -> here: why a message is in its state, as `GET /v1/messages/:id?explain=true`
// answers it.
import { timeSchema } from "@petrel/shared/kernel/http/answer-time";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import type { Static } from "typebox";

/** `explain` is optional because it costs some reads. */
export const messageQuerySchema = Type.Object(
  {
    explain: Type.Optional(
      Type.Enum(["true"], { description: "Add `explanation`: what else is known about the message." }),
    ),
  },
  { additionalProperties: false },
);

export const explanationSchema = Type.Object(
  {
    at: timeSchema,
    user: Type.Optional(
      Type.Object(
        {
          connections: Type.Array(Type.Object({ node: Type.String(), connectedAt: timeSchema }), {
            description: "Open now, oldest first.",
          }),
          devices: Type.Array(Type.String(), { description: "The platforms of the user's devices." }),
          seq: Type.Integer({ description: "The newest number of the user's sequence." }),
          acked: Type.Integer({ description: "Clients have acknowledged up to this one." }),
          ackedAt: Type.Optional(Type.String({ format: "date-time" })),
        },
        { description: "For a message to a user who has a sequence." },
      ),
    ),
    policy: Type.Optional(
      Type.Object(
        {
          fallback: Type.String(),
          priority: Type.String(),
          notification: Type.Boolean({ description: "Whether it has one; without it, it cannot be pushed." }),
          channels: Type.Optional(Type.Array(Type.String())),
          collapseKey: Type.Optional(Type.String()),
        },
        { description: "As it was sent; only while it is in the inbox." },
      ),
    ),
    nudged: Type.Optional(
      Type.Boolean({
        description: "For an open message: whether the user's nodes were asked to send it again.",
      }),
    ),
    nextLookAt: Type.Optional(
      Type.String({ format: "date-time", description: "When dispatch next checks its user." }),
    ),
    sending: Type.Optional(Type.Boolean({ description: "A channel is being asked to take it now." })),
    notSent: Type.Array(
      Type.Object({
        at: timeSchema,
        state: Type.String({ description: "The message's state by then: delivered, expired or cancelled." }),
        channel: Type.Optional(Type.String({ description: "The channel that was next." })),
      }),
      { description: "When the fallback skipped it because it had ended." },
    ),
    pausedChannels: Type.Optional(
      Type.Array(Type.String(), {
        description: "For an open message: fallback channels that an operator has paused.",
      }),
    ),
    putOff: Type.Optional(
      Type.Object(
        {
          until: timeSchema,
          userLimit: Type.Boolean({ description: "Whether its user's limit is the reason." }),
        },
        { description: "For `scheduled`: it is due, but was postponed." },
      ),
    ),
  },
  { description: "Only with `explain=true`." },
);

export type Explanation = Static<typeof explanationSchema>;
