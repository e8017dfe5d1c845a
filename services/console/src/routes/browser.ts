// GET, PUT, DELETE /api/browsers/:userId: a simulated browser for a user, whose notifications the Web Push simulator
// holds.
// Guarantees: subscribed and registered like a real one; one for each user, as long as this process runs.
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { USER_ID_PATTERN } from "@petrel/shared/protocol/messages/ids";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import type { CallService } from "../call-service.js";
import { passOn } from "./pass-on.js";

export interface BrowserDeps {
  readonly callAuth: CallService;
  /** The simulator's control API; undefined if there is no simulator. */
  readonly callWebPush: CallService | undefined;
}

/** A subscription, in the simulator's form. */
interface Subscribed {
  readonly id: string;
  readonly endpoint: string;
  readonly expirationTime: null;
  readonly keys: { readonly p256dh: string; readonly auth: string };
}

const paramsSchema = Type.Object({ userId: Type.String({ pattern: USER_ID_PATTERN }) });
const MAX_BROWSERS = 10_000;
const ENDPOINT_END = 6;
/** The most that auth lists; nobody has more. */
const DEVICES_LIMIT = 1000;

export function addBrowserRoutes(app: HttpApp, { callAuth, callWebPush }: BrowserDeps): void {
  const browsers = new Map<string, Subscribed>();
  const simulator: CallService = (...request) => {
    if (callWebPush === undefined) {
      throw new PetrelError("PETREL_NOT_FOUND", "There is no Web Push simulator here.");
    }
    return callWebPush(...request);
  };
  const findDevice = async (
    requestId: string,
    userId: string,
    endpoint: string,
  ): Promise<string | undefined> => {
    const { status, body } = await callAuth(
      requestId,
      "GET",
      `${devicesPath(userId)}?limit=${DEVICES_LIMIT}`,
    );
    if (status !== 200)
      throw new PetrelError("PETREL_UNAVAILABLE", `auth answered ${status} to a list of devices`);
    const { items } = JSON.parse(body) as {
      readonly items: readonly {
        readonly id: string;
        readonly platform: string;
        readonly endpointEnd?: string;
      }[];
    };
    const end = endpoint.slice(-ENDPOINT_END);
    return items.find((item) => item.platform === "web" && item.endpointEnd === end)?.id;
  };

  app.get("/api/browsers/:userId", { schema: { params: paramsSchema } }, async (request, reply) => {
    const { userId } = request.params;
    const browser = browsers.get(userId);
    void reply.header("cache-control", "no-store");
    if (browser === undefined) return { registered: false, notifications: [] };
    const shown = await simulator(request.id, "GET", `/subscriptions/${browser.id}/notifications`);
    // The simulator was restarted, so its browsers are gone.
    if (shown.status === 404) browsers.delete(userId);
    const notifications: unknown = shown.status === 200 ? JSON.parse(shown.body) : [];
    const isRegistered =
      shown.status === 200 && (await findDevice(request.id, userId, browser.endpoint)) !== undefined;
    return { registered: isRegistered, notifications };
  });

  app.put("/api/browsers/:userId", { schema: { params: paramsSchema } }, async (request, reply) => {
    const { userId } = request.params;
    const made = await simulator(request.id, "POST", "/subscriptions", {});
    if (made.status !== 201) return passOn(reply, made);
    const browser = JSON.parse(made.body) as Subscribed;
    const { id: _id, ...subscription } = browser;
    const answer = await callAuth(request.id, "PUT", devicesPath(userId), { platform: "web", subscription });
    if (answer.status === 204) {
      browsers.set(userId, browser);
      if (browsers.size > MAX_BROWSERS) browsers.delete(browsers.keys().next().value ?? "");
    }
    return passOn(reply, answer);
  });

  app.delete("/api/browsers/:userId", { schema: { params: paramsSchema } }, async (request, reply) => {
    const { userId } = request.params;
    const browser = browsers.get(userId);
    const device = browser === undefined ? undefined : await findDevice(request.id, userId, browser.endpoint);
    if (device === undefined) throw new PetrelError("PETREL_NOT_FOUND", "This user has no browser here.");
    return passOn(
      reply,
      await callAuth(request.id, "DELETE", `${devicesPath(userId)}/${encodeURIComponent(device)}`),
    );
  });
}

function devicesPath(userId: string): string {
  return `/v1/users/${encodeURIComponent(userId)}/devices`;
}
