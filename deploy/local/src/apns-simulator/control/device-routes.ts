// The APNs simulator's control API: phones.
// Guarantees: what arrived is listed unchanged and in order; a token must have the shape of Apple's.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { answerSchema, readAnswer } from "./answer-schema.js";
import type { ReceivedNotification, ReceivedNotifications } from "../state/received-notifications.js";
import type { SimulatedDevices } from "../state/simulated-devices.js";

interface DeviceDeps {
  readonly devices: SimulatedDevices;
  readonly notifications: ReceivedNotifications;
}

const paramsSchema = Type.Object({ token: Type.String({ pattern: "^([0-9A-Fa-f]{2}){32,100}$" }) });

const changeSchema = Type.Object(
  {
    answer: Type.Optional(Type.Union([answerSchema, Type.Null()])),
    topic: Type.Optional(Type.Union([Type.String({ pattern: "^[A-Za-z0-9.-]{1,255}$" }), Type.Null()])),
    environment: Type.Optional(
      Type.Union([Type.Literal("production"), Type.Literal("sandbox"), Type.Null()]),
    ),
  },
  { additionalProperties: false, minProperties: 1 },
);

export function addDeviceRoutes(app: HttpApp, { devices, notifications }: DeviceDeps): void {
  const schema = { params: paramsSchema, querystring: noQuerySchema };

  app.get("/devices/:token/notifications", { schema }, (request) =>
    notifications.list(request.params.token.toLowerCase()).map(shown),
  );
  app.get("/devices/:token/screen", { schema }, (request) => {
    const { badge, notifications: visible } = notifications.screen(request.params.token.toLowerCase());
    return { badge, notifications: visible.map(shown) };
  });
  app.delete("/devices/:token/notifications", { schema }, (request, reply) => {
    notifications.clear(request.params.token.toLowerCase());
    return reply.code(204).send();
  });
  app.put("/devices/:token", { schema: { ...schema, body: changeSchema } }, (request, reply) => {
    const { answer, ...rest } = request.body;
    devices.change(request.params.token.toLowerCase(), {
      ...rest,
      ...(answer === undefined ? {} : { answer: answer === null ? null : readAnswer(answer) }),
    });
    return reply.code(204).send();
  });
  // For all phones: which apns-ids arrived, and how often.
  app.get("/apns-ids", { schema: { querystring: noQuerySchema } }, () => notifications.arrivals());
  app.delete("/notifications", { schema: { querystring: noQuerySchema } }, (_request, reply) => {
    notifications.clear();
    return reply.code(204).send();
  });
}

function shown(notification: ReceivedNotification) {
  const { at, apnsId, topic, pushType, priority, collapseId, expiration, payload } = notification;
  const parsed: unknown = JSON.parse(payload);
  return { at, apnsId, topic, pushType, priority, collapseId, expiration, payload: parsed };
}
