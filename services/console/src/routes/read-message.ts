// GET /api/messages/:id: the state of a message that the page has sent.
// Guarantees: collect's answer; only a message id reaches its path.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { MESSAGE_ID_PATTERN } from "@petrel/shared/protocol/messages/ids";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import type { CallService } from "../call-service.js";
import { passOn } from "./pass-on.js";

const paramsSchema = Type.Object({ id: Type.String({ pattern: MESSAGE_ID_PATTERN }) });

export function addReadMessage(app: HttpApp, callCollect: CallService): void {
  app.get("/api/messages/:id", { schema: { params: paramsSchema } }, async (request, reply) =>
    passOn(
      reply,
      await callCollect(request.id, "GET", `/v1/messages/${encodeURIComponent(request.params.id)}`),
    ),
  );
}
