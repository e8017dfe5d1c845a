// The APNs simulator's control API: an answer to script.
// Guarantees: only what Apple could answer, with a reason for everything but 200.
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { Static } from "typebox";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import type { ScriptedAnswer } from "../state/simulated-devices.js";

export const answerSchema = Type.Object(
  {
    status: Type.Integer({ minimum: 200, maximum: 599 }),
    reason: Type.Optional(Type.String({ pattern: "^[A-Za-z]{1,64}$" })),
    timestamp: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 8_640_000_000_000_000, description: "milliseconds since 1970" }),
    ),
    retryAfter: Type.Optional(Type.Integer({ minimum: 0, maximum: 86_400, description: "seconds" })),
    times: Type.Optional(
      Type.Integer({ minimum: 1, description: "for so many requests; without it until it is taken back" }),
    ),
  },
  { additionalProperties: false },
);

/** @throws PetrelError PETREL_INVALID_REQUEST */
export function readAnswer(answer: Static<typeof answerSchema>): ScriptedAnswer {
  const { status, reason, timestamp, retryAfter, times } = answer;
  if ((status === 200) !== (reason === undefined)) {
    throw new PetrelError(
      "PETREL_INVALID_REQUEST",
      "body/answer/reason: every answer but 200 has a reason, and 200 has none",
      { details: { field: "body/answer/reason" } },
    );
  }
  return {
    status,
    ...(reason === undefined ? {} : { reason }),
    ...(timestamp === undefined ? {} : { timestampMs: timestamp }),
    ...(retryAfter === undefined ? {} : { retryAfterSeconds: retryAfter }),
    ...(times === undefined ? {} : { times }),
  };
}
