// collect's answers to senders: these schemas document the answers and serialise them.
// Guarantees: each field has one shape, so the serialiser never chooses between variants.
import type { Static } from "typebox";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";

const id = Type.String({ description: "The message's id, for GET /v1/messages/:id." });
const duplicate = Type.Boolean({ description: "Whether an earlier request already stored it." });

const recipientResultSchema = Type.Object(
  { user: Type.String(), id, duplicate },
  { title: "RecipientResult" },
);

const accepted = {
  id: Type.Optional(id),
  duplicate: Type.Optional(duplicate),
  results: Type.Optional(
    Type.Array(recipientResultSchema, { description: "For `to.users` only: one for each user, in order." }),
  ),
};

export const acceptedSchema = Type.Object(accepted, {
  title: "Accepted",
  description: "Stored. `id` and `duplicate` for `to.user`; `results` for `to.users`.",
});

export const batchAcceptedSchema = Type.Object(
  {
    results: Type.Array(
      Type.Object({
        ...accepted,
        error: Type.Optional(
          Type.Object({
            code: Type.String(),
            message: Type.String(),
            retryable: Type.Boolean(),
            status: Type.Integer({ description: "The status this message would have got on its own." }),
            details: Type.Optional(Type.Object({}, { additionalProperties: true })),
          }),
        ),
      }),
      { description: "One for each message, in order." },
    ),
  },
  { title: "BatchAccepted" },
);

export type RecipientResult = Static<typeof recipientResultSchema>;

/** The answer for one message of a request. */
export type AcceptedAnswer =
  | { readonly id: string; readonly duplicate: boolean }
  | { readonly results: RecipientResult[] };
