// GET, PUT, DELETE /api/phones/:userId: a simulated iPhone for a user, whose notifications the APNs simulator holds.
// Guarantees: registered with auth like a real one; its token is derived from the user id, so there is one for each.
import { createHash } from "node:crypto";
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { USER_ID_PATTERN } from "@petrel/shared/protocol/messages/ids";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import type { CallService } from "../call-service.js";
import { passOn } from "./pass-on.js";

export interface PhoneDeps {
  readonly callAuth: CallService;
  /** The simulator's control API; undefined if there is no simulator. */
  readonly callApns: CallService | undefined;
}

const paramsSchema = Type.Object({ userId: Type.String({ pattern: USER_ID_PATTERN }) });
const topic = "com.example.petrel";
const TOKEN_END = 6;
/** The most that auth lists; nobody has more. */
const DEVICES_LIMIT = 1000;

export function addPhoneRoutes(app: HttpApp, { callAuth, callApns }: PhoneDeps): void {
  const apns: CallService = (...request) => {
    if (callApns === undefined) throw new PetrelError("PETREL_NOT_FOUND", "There is no APNs simulator here.");
    return callApns(...request);
  };

  app.get("/api/phones/:userId", { schema: { params: paramsSchema } }, async (request, reply) => {
    const { userId } = request.params;
    const screen = await apns(request.id, "GET", `/devices/${pretendToken(userId)}/screen`);
    if (screen.status !== 200) return passOn(reply, screen);
    const devices = await callAuth(request.id, "GET", `${devicesPath(userId)}?limit=${DEVICES_LIMIT}`);
    if (devices.status !== 200) return passOn(reply, devices);
    const isRegistered = findPhone(devices.body, userId) !== undefined;
    return reply
      .header("cache-control", "no-store")
      .send({ registered: isRegistered, ...(JSON.parse(screen.body) as object) });
  });

  app.put("/api/phones/:userId", { schema: { params: paramsSchema } }, async (request, reply) => {
    const { userId } = request.params;
    const device = { platform: "ios", token: pretendToken(userId), topic, environment: "production" };
    return passOn(reply, await callAuth(request.id, "PUT", devicesPath(userId), device));
  });

  app.delete("/api/phones/:userId", { schema: { params: paramsSchema } }, async (request, reply) => {
    const { userId } = request.params;
    const devices = await callAuth(request.id, "GET", `${devicesPath(userId)}?limit=${DEVICES_LIMIT}`);
    if (devices.status !== 200) return passOn(reply, devices);
    const id = findPhone(devices.body, userId);
    if (id === undefined) throw new PetrelError("PETREL_NOT_FOUND", "This user has no phone here.");
    return passOn(
      reply,
      await callAuth(request.id, "DELETE", `${devicesPath(userId)}/${encodeURIComponent(id)}`),
    );
  });

  app.delete(
    "/api/phones/:userId/notifications",
    { schema: { params: paramsSchema } },
    async (request, reply) =>
      passOn(
        reply,
        await apns(request.id, "DELETE", `/devices/${pretendToken(request.params.userId)}/notifications`),
      ),
  );
}

function devicesPath(userId: string): string {
  return `/v1/users/${encodeURIComponent(userId)}/devices`;
}

/** As long as Apple's: 32 bytes in hex. */
function pretendToken(userId: string): string {
  return createHash("sha256").update(`pretend iPhone of ${userId}`).digest("hex");
}

/** @param body auth's list of devices, as JSON */
function findPhone(body: string, userId: string): string | undefined {
  const { items } = JSON.parse(body) as {
    readonly items: readonly { readonly id: string; readonly topic?: string; readonly tokenEnd?: string }[];
  };
  const tokenEnd = pretendToken(userId).slice(-TOKEN_END);
  return items.find((item) => item.topic === topic && item.tokenEnd === tokenEnd)?.id;
}
