// PUT, GET /v1/users/:userId/devices, DELETE /v1/users/:userId/devices/:id: a business system manages its users'
// devices.
// Guarantees: needs the scope devices. The log names the key that did it, and shows only the end of a device token.
import type { Clock } from "@petrel/shared/kernel/clock";
import { errorSchema, producerErrors } from "@petrel/shared/kernel/http/error-schema";
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { tokenEndOf } from "@petrel/shared/protocol/fallback/device";
import type { PushHosts } from "@petrel/shared/security/web-push/push-hosts";
import type { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { authorize, producerOf } from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import {
  devicePageSchema,
  listQuerySchema,
  newDeviceSchema,
  readDevice,
  userDeviceParamsSchema,
  userParamsSchema,
  viewDevicePage,
} from "../devices/device-schema.js";

export interface DevicesOfUserDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly devices: DevicesStore;
  readonly pushHosts: PushHosts;
  readonly clock: Clock;
}

const tags = ["devices"];
const security = producerSecurity;

export function addDevicesOfUser(app: HttpApp, deps: DevicesOfUserDeps): void {
  const { authenticator, devices, pushHosts, clock } = deps;
  const onRequest = authorize(authenticator, "devices");

  app.put(
    "/v1/users/:userId/devices",
    {
      onRequest,
      schema: {
        tags,
        summary: "Register a device for a user (scope: devices)",
        description: "Safe to repeat: it renews the device. The device leaves its previous user.",
        security,
        params: userParamsSchema,
        querystring: noQuerySchema,
        body: newDeviceSchema,
        response: { 204: Type.Null(), ...producerErrors },
      },
    },
    async (request, reply) => {
      const { userId } = request.params;
      const device = readDevice(request.body, pushHosts);
      await devices.register(userId, device, clock.wallMs());
      const by = producerOf(request).keyId;
      request.log.info({ user: userId, tokenEnd: tokenEndOf(device), by }, "device registered");
      return reply.code(204).send(null);
    },
  );

  app.get(
    "/v1/users/:userId/devices",
    {
      onRequest,
      schema: {
        tags,
        summary: "List a user's devices (scope: devices)",
        security,
        params: userParamsSchema,
        querystring: listQuerySchema,
        response: { 200: devicePageSchema, ...producerErrors },
      },
    },
    async ({ params: { userId }, query }) =>
      viewDevicePage(await devices.list(userId), query, clock.wallMs()),
  );

  app.delete(
    "/v1/users/:userId/devices/:id",
    {
      onRequest,
      schema: {
        tags,
        summary: "Remove a user's device (scope: devices)",
        security,
        params: userDeviceParamsSchema,
        querystring: noQuerySchema,
        response: { 204: Type.Null(), ...producerErrors, 404: errorSchema },
      },
    },
    async (request, reply) => {
      const { userId, id } = request.params;
      if (!(await devices.remove(userId, id))) {
        throw new PetrelError("PETREL_NOT_FOUND", "There is no such device (any more).");
      }
      request.log.info({ user: userId, device: id, by: producerOf(request).keyId }, "device removed");
      return reply.code(204).send(null);
    },
  );
}
