// How a device looks in requests and answers.
// Guarantees: no answer can hold a whole token, openid or endpoint. Fields of another platform are refused.
import { createPublicKey } from "node:crypto";
import { formatTime, timeSchema } from "@petrel/shared/kernel/http/answer-time";
import { PetrelError } from "@petrel/shared/kernel/errors";
import {
  APNS_TOKEN_PATTERN,
  APNS_TOPIC_PATTERN,
  apnsEnvironments,
  type Device,
  type NewDevice,
  type WebSubscription,
  hostOfEndpoint,
  MAX_WEB_ENDPOINT,
  tokenEndOf,
  WEB_AUTH_PATTERN,
  WEB_ENDPOINT_PATTERN,
  WEB_P256DH_PATTERN,
  WECHAT_ID_PATTERN,
} from "@petrel/shared/protocol/fallback/device";
import { DEFAULT_LIMIT, pageFields } from "@petrel/shared/kernel/http/page-query";
import { USER_ID_PATTERN } from "@petrel/shared/protocol/messages/ids";
import type { PushHosts } from "@petrel/shared/security/web-push/push-hosts";
import type { Static } from "typebox";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";

const closed = { additionalProperties: false } as const;

const userIdSchema = Type.String({ pattern: USER_ID_PATTERN, description: "Percent-encoded." });
const DEVICE_ID_PATTERN = "^[A-Za-z0-9_-]{1,64}$";
const deviceIdSchema = Type.String({ pattern: DEVICE_ID_PATTERN, description: "Opaque." });

export const ownDeviceParamsSchema = Type.Object({ id: deviceIdSchema }, closed);
export const userParamsSchema = Type.Object({ userId: userIdSchema }, closed);
export const userDeviceParamsSchema = Type.Object({ userId: userIdSchema, id: deviceIdSchema }, closed);

/** In the form of a browser's `PushSubscription.toJSON()`. */
const subscriptionSchema = Type.Object(
  {
    endpoint: Type.String({
      pattern: WEB_ENDPOINT_PATTERN,
      maxLength: MAX_WEB_ENDPOINT,
      description: "Its host must be on WEB_PUSH_HOSTS.",
    }),
    expirationTime: Type.Optional(
      Type.Union([Type.Integer({ minimum: 0 }), Type.Null()], {
        description: "Milliseconds since 1970; null for never.",
      }),
    ),
    keys: Type.Object(
      {
        p256dh: Type.String({ pattern: WEB_P256DH_PATTERN, description: "65 bytes as base64url." }),
        auth: Type.String({ pattern: WEB_AUTH_PATTERN, description: "16 bytes as base64url." }),
      },
      closed,
    ),
  },
  { ...closed, title: "WebSubscription", description: "web: the browser's push subscription." },
);

/** One shape for all platforms, so that an error names the field. `readDevice` checks which fields belong together. */
export const newDeviceSchema = Type.Object(
  {
    platform: Type.Enum(["ios", "wechat", "web"]),
    token: Type.Optional(
      Type.String({ pattern: APNS_TOKEN_PATTERN, description: "ios: the APNs device token, in hex." }),
    ),
    topic: Type.Optional(
      Type.String({ pattern: APNS_TOPIC_PATTERN, description: "ios: the app's bundle id." }),
    ),
    environment: Type.Optional(
      Type.Enum([...apnsEnvironments], { description: "ios: the APNs environment." }),
    ),
    openid: Type.Optional(
      Type.String({ pattern: WECHAT_ID_PATTERN, description: "wechat: the user's openid in this app." }),
    ),
    appid: Type.Optional(
      Type.String({ pattern: WECHAT_ID_PATTERN, description: "wechat: the app's appid." }),
    ),
    subscription: Type.Optional(subscriptionSchema),
  },
  { ...closed, title: "NewDevice" },
);

export const listQuerySchema = Type.Object(
  {
    ...pageFields(DEVICE_ID_PATTERN),
  },
  closed,
);

export const devicePageSchema = Type.Object(
  {
    items: Type.Array(
      Type.Object(
        {
          id: Type.String(),
          platform: Type.Enum(["ios", "wechat", "web"]),
          topic: Type.Optional(Type.String({ description: "ios" })),
          environment: Type.Optional(Type.String({ description: "ios" })),
          tokenEnd: Type.Optional(Type.String({ description: "ios: the token's last six characters." })),
          appid: Type.Optional(Type.String({ description: "wechat" })),
          openidEnd: Type.Optional(Type.String({ description: "wechat: the openid's last six characters." })),
          host: Type.Optional(Type.String({ description: "web: the push service." })),
          endpointEnd: Type.Optional(
            Type.String({ description: "web: the endpoint's last six characters." }),
          ),
          registeredAt: timeSchema,
          lastSeenAt: Type.String({
            format: "date-time",
            description: "When it was last registered or reached, accurate to a day.",
          }),
          quarantinedUntil: Type.Optional(
            Type.String({ format: "date-time", description: "ios: nothing is sent to it until then." }),
          ),
        },
        { ...closed, title: "Device" },
      ),
    ),
    nextCursor: Type.Union([Type.String(), Type.Null()]),
  },
  { ...closed, title: "DevicePage" },
);

type NewDeviceBody = Static<typeof newDeviceSchema>;

const fieldsOf = {
  ios: ["token", "topic", "environment"],
  wechat: ["openid", "appid"],
  web: ["subscription"],
} as const satisfies Record<NewDeviceBody["platform"], readonly (keyof NewDeviceBody)[]>;

/** @throws PetrelError PETREL_INVALID_REQUEST naming the field that is missing, or does not belong to this platform */
export function readDevice(body: NewDeviceBody, pushHosts: PushHosts): NewDevice {
  const { platform } = body;
  for (const [other, names] of Object.entries(fieldsOf)) if (other !== platform) refuseFields(body, names);
  switch (platform) {
    case "ios":
      return {
        platform,
        token: requireField(body, "token").toLowerCase(),
        topic: requireField(body, "topic"),
        environment: requireField(body, "environment"),
      };
    case "wechat":
      return { platform, openid: requireField(body, "openid"), appid: requireField(body, "appid") };
    case "web":
      return { platform, ...readSubscription(requireField(body, "subscription"), pushHosts) };
  }
}

function readSubscription(
  { endpoint, expirationTime, keys }: NonNullable<NewDeviceBody["subscription"]>,
  pushHosts: PushHosts,
): WebSubscription {
  const verdict = pushHosts.judge(endpoint);
  if (!verdict.ok) throw wrongField("subscription/endpoint", verdict.problem);
  const p256dh = keys.p256dh.replace(/=+$/, "");
  if (!isPoint(p256dh)) throw wrongField("subscription/keys/p256dh", "is not a point on P-256");
  const expiry = typeof expirationTime === "number" ? { expiresAtMs: expirationTime } : {};
  return { endpoint, p256dh, auth: keys.auth.replace(/=+$/, ""), ...expiry };
}

/** Checked here, where the page can correct it, instead of failing at each send. */
function isPoint(p256dh: string): boolean {
  const bytes = Buffer.from(p256dh, "base64url");
  const [x, y] = [bytes.subarray(1, 33), bytes.subarray(33)].map((half) => half.toString("base64url"));
  try {
    createPublicKey({ key: { kty: "EC", crv: "P-256", x, y }, format: "jwk" });
    return true;
  } catch {
    return false;
  }
}

function requireField<Name extends keyof NewDeviceBody>(
  body: NewDeviceBody,
  name: Name,
): NonNullable<NewDeviceBody[Name]> {
  const value = body[name];
  if (value === undefined) throw wrongField(name, `a device of the platform ${body.platform} needs this`);
  return value;
}

function refuseFields(body: NewDeviceBody, names: readonly (keyof NewDeviceBody)[]): void {
  const wrong = names.find((name) => body[name] !== undefined);
  if (wrong !== undefined)
    throw wrongField(wrong, `a device of the platform ${body.platform} has no such field`);
}

function wrongField(name: string, what: string): PetrelError {
  const field = `body/${name}`;
  return new PetrelError("PETREL_INVALID_REQUEST", `${field}: ${what}`, { details: { field } });
}

/**
 * @param devices by their ids
 * @param nowMs to leave out a quarantine that has ended
 */
export function viewDevicePage(
  devices: readonly Device[],
  { cursor = "", limit = DEFAULT_LIMIT }: Static<typeof listQuerySchema>,
  nowMs: number,
) {
  const later = devices.filter(({ id }) => id > cursor);
  const page = later.slice(0, Number(limit));
  return {
    items: page.map((device) => viewDevice(device, nowMs)),
    nextCursor: later.length > page.length ? (page.at(-1)?.id ?? null) : null,
  };
}

function viewDevice(device: Device, nowMs: number) {
  const { id } = device;
  const times = {
    registeredAt: formatTime(device.registeredAtMs),
    lastSeenAt: formatTime(device.lastSeenAtMs),
  };
  if (device.platform === "wechat") {
    return { id, platform: device.platform, appid: device.appid, openidEnd: tokenEndOf(device), ...times };
  }
  if (device.platform === "web") {
    const host = hostOfEndpoint(device.endpoint);
    return { id, platform: device.platform, host, endpointEnd: tokenEndOf(device), ...times };
  }
  const { platform, topic, environment, quarantinedUntilMs = 0 } = device;
  return {
    id,
    platform,
    topic,
    environment,
    tokenEnd: tokenEndOf(device),
    ...times,
    ...(quarantinedUntilMs > nowMs ? { quarantinedUntil: formatTime(quarantinedUntilMs) } : {}),
  };
}
