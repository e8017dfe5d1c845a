// message-routes, explain-message -> here: why a message is in its state, as `GET /v1/messages/:id?explain=true`
// answers it.
import { timeSchema } from "@petrel/shared/kernel/http/answer-time";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import type { Static } from "typebox";

/** `explain` is optional because it costs some reads. */
export const messageQuerySchema = Type.Object(
  {
    explain: Type.Optional(
      Type.Enum(["true"], { description: "Add `explanation`: what is known beside its state." }),
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
        { description: "Of a message to a user who has a sequence." },
      ),
    ),
    policy: Type.Optional(
      Type.Object(
        {
          fallback: Type.String(),
          priority: Type.String(),
          notification: Type.Boolean({ description: "It has one: without it, no push can be made of it." }),
          channels: Type.Optional(Type.Array(Type.String())),
          collapseKey: Type.Optional(Type.String()),
        },
        { description: "As it was sent; only while the inbox still holds it." },
      ),
    ),
    nudged: Type.Optional(
      Type.Boolean({ description: "Of an open message: the user's nodes were asked to send it once more." }),
    ),
    nextLookAt: Type.Optional(
      Type.String({ format: "date-time", description: "When dispatch looks after its user next." }),
    ),
    sending: Type.Optional(Type.Boolean({ description: "A channel is being asked to take it right now." })),
    notSent: Type.Array(
      Type.Object({
        at: timeSchema,
        state: Type.String({ description: "What the message was by then: delivered, expired or cancelled." }),
        channel: Type.Optional(Type.String({ description: "The one that was to be asked." })),
      }),
      { description: "When the fallback came to it, and did not send it, as it had ended." },
    ),
    pausedChannels: Type.Optional(
      Type.Array(Type.String(), {
        description: "Of an open message: fallback channels that an operator has paused.",
      }),
    ),
    putOff: Type.Optional(
      Type.Object(
        { until: timeSchema, userLimit: Type.Boolean({ description: "Its user's limit is reached." }) },
        { description: "Of `scheduled`: its time has come, and it was put off." },
      ),
    ),
  },
  { description: "Only with `explain=true`." },
);

export type Explanation = Static<typeof explanationSchema>;
