// POST /api/messages: the page sends a message to a user.
// Guarantees: collect decides; the page gets its answer, error or not.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { USER_ID_PATTERN } from "@petrel/shared/protocol/messages/ids";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import type { CallService } from "../call-service.js";
import { passOn } from "./pass-on.js";

const bodySchema = Type.Object(
  {
    to: Type.Object({ user: Type.String({ pattern: USER_ID_PATTERN }) }, { additionalProperties: false }),
    data: Type.Unknown(),
    notification: Type.Optional(
      Type.Object({ title: Type.String(), body: Type.String() }, { additionalProperties: false }),
    ),
    fallback: Type.Optional(
      Type.Union([Type.Literal("offline"), Type.Literal("always"), Type.Literal("never")]),
    ),
    ttlSeconds: Type.Optional(Type.Integer()),
    idempotencyKey: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
);

export function addSendMessage(app: HttpApp, callCollect: CallService): void {
  app.post("/api/messages", { schema: { body: bodySchema } }, async (request, reply) =>
    passOn(reply, await callCollect(request.id, "POST", "/v1/messages", request.body)),
  );
}
