// The Web Push simulator's control API, plain HTTP, for tests and the console.
// Guarantees: the shape of the public contract (DESIGN section 3, "Local run"); unknown members are refused.
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import type { Subscription, Subscriptions } from "./subscriptions.js";

const closed = { additionalProperties: false } as const;
const params = Type.Object({ id: Type.String({ maxLength: 64 }) }, closed);
const querystring = noQuerySchema;

const newSchema = Type.Object(
  { applicationServerKey: Type.Optional(Type.String({ pattern: "^B[A-Za-z0-9_-]{86}=?$" })) },
  closed,
);
const changeSchema = Type.Object(
  {
    answer: Type.Union([
      Type.Object(
        {
          status: Type.Integer({ minimum: 200, maximum: 599 }),
          retryAfter: Type.Optional(Type.Integer({ minimum: 0, maximum: 86_400, description: "seconds" })),
          times: Type.Optional(Type.Integer({ minimum: 1, description: "for so many pushes" })),
        },
        closed,
      ),
      Type.Null(),
    ]),
  },
  closed,
);

export function addControlRoutes(
  app: HttpApp,
  { subscriptions }: { readonly subscriptions: Subscriptions },
): void {
  const find = (id: string): Subscription => {
    const found = subscriptions.find(id);
    if (found === undefined) throw new PetrelError("PETREL_NOT_FOUND", "There is no such subscription.");
    return found;
  };

  app.post(
    "/subscriptions",
    { schema: { querystring, body: Type.Union([newSchema, Type.Null()]) } },
    (request, reply) => {
      const key = request.body?.applicationServerKey?.replace(/=$/, "");
      return reply.code(201).send(subscriptions.create(key).json);
    },
  );
  app.get("/subscriptions/:id/notifications", { schema: { params, querystring } }, (request) => [
    ...find(request.params.id).notifications,
  ]);
  app.delete("/subscriptions/:id/notifications", { schema: { params, querystring } }, (request, reply) => {
    find(request.params.id).notifications.length = 0;
    return reply.code(204).send();
  });
  app.put("/subscriptions/:id", { schema: { params, querystring, body: changeSchema } }, (request, reply) => {
    find(request.params.id).answer = request.body.answer ?? undefined;
    return reply.code(204).send();
  });
  app.delete("/subscriptions/:id", { schema: { params, querystring } }, (request, reply) => {
    find(request.params.id);
    subscriptions.remove(request.params.id);
    return reply.code(204).send();
  });
}
