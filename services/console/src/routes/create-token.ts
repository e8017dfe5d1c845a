// POST /api/tokens: the page signs in as a user.
// Guarantees: the token is auth's; the producer key that requests it stays here.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { USER_ID_PATTERN } from "@petrel/shared/protocol/messages/ids";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import type { CallService } from "../call-service.js";
import { passOn } from "./pass-on.js";

const bodySchema = Type.Object(
  { userId: Type.String({ pattern: USER_ID_PATTERN }) },
  { additionalProperties: false },
);

/** The page can become any user and join any topic. The topic's rule decides what is allowed there. */
const topics = [{ topic: "*", can: ["subscribe", "publish", "presence"] }];

export function addCreateToken(app: HttpApp, callAuth: CallService): void {
  app.post("/api/tokens", { schema: { body: bodySchema } }, async (request, reply) =>
    passOn(reply, await callAuth(request.id, "POST", "/v1/tokens", { userId: request.body.userId, topics })),
  );
}
