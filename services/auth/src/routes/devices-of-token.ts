// PUT, GET /v1/devices, DELETE /v1/devices/:id: an app manages its own user's devices.
// Guarantees: the token names the user; no other user's devices can be seen or changed here.
import type { Clock } from "@petrel/shared/kernel/clock";
import { errorSchema } from "@petrel/shared/kernel/http/error-schema";
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { tokenEndOf } from "@petrel/shared/protocol/fallback/device";
import type { PushHosts } from "@petrel/shared/security/web-push/push-hosts";
import type { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { authorizeUser, type AuthorizeUserDeps, userOf } from "../tokens/authorize-user.js";
import {
  devicePageSchema,
  listQuerySchema,
  newDeviceSchema,
  ownDeviceParamsSchema,
  readDevice,
  viewDevicePage,
} from "../devices/device-schema.js";

export interface DevicesOfTokenDeps extends AuthorizeUserDeps {
  readonly devices: DevicesStore;
  readonly pushHosts: PushHosts;
  readonly clock: Clock;
}

const tags = ["devices"];
const security = [{ bearer: [] }];
/** No scopes: a user's token gives access to that user's devices. */
const userErrors = { 400: errorSchema, 401: errorSchema, 503: errorSchema } as const;

export function addDevicesOfToken(app: HttpApp, deps: DevicesOfTokenDeps): void {
  const { devices, pushHosts, clock } = deps;
  const onRequest = authorizeUser(deps);

  app.put(
    "/v1/devices",
    {
      onRequest,
      schema: {
        tags,
        summary: "Register a device for the token's user (user token)",
        description:
          "May be called at each start of the app: it renews the device. The device leaves its previous user.",
        security,
        querystring: noQuerySchema,
        body: newDeviceSchema,
        response: { 204: Type.Null(), ...userErrors },
      },
    },
    async (request, reply) => {
      const userId = userOf(request);
      const device = readDevice(request.body, pushHosts);
      await devices.register(userId, device, clock.wallMs());
      request.log.info({ user: userId, tokenEnd: tokenEndOf(device) }, "device registered");
      return reply.code(204).send(null);
    },
  );

  app.get(
    "/v1/devices",
    {
      onRequest,
      schema: {
        tags,
        summary: "List the devices of the token's user (user token)",
        security,
        querystring: listQuerySchema,
        response: { 200: devicePageSchema, ...userErrors },
      },
    },
    async (request) => viewDevicePage(await devices.list(userOf(request)), request.query, clock.wallMs()),
  );

  app.delete(
    "/v1/devices/:id",
    {
      onRequest,
      schema: {
        tags,
        summary: "Remove a device of the token's user (user token)",
        description: "An app calls this when its user signs out.",
        security,
        params: ownDeviceParamsSchema,
        querystring: noQuerySchema,
        response: { 204: Type.Null(), ...userErrors, 404: errorSchema },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const userId = userOf(request);
      if (!(await devices.remove(userId, id))) {
        throw new PetrelError("PETREL_NOT_FOUND", "There is no such device (any more).");
      }
      request.log.info({ user: userId, device: id }, "device removed");
      return reply.code(204).send(null);
    },
  );
}
