// redis/devices-store -> here: the name of a device.
// Guarantees: the same for the same app and token, whatever the case; reveals nothing of the token.
import { createHash } from "node:crypto";
import type { NewDevice } from "../../protocol/fallback/device.js";

const UNIQUE_LENGTH = 16;

/** `d_` and 16 characters of base64url: 96 bits of SHA-256. */
export function deviceIdOf(device: NewDevice): string {
  const parts =
    device.platform === "ios"
      ? [device.platform, device.topic, device.environment, device.token.toLowerCase()]
      : [device.platform, device.appid, "", device.openid];
  const digest = createHash("sha256").update(parts.join("\n")).digest("base64url");
  return `d_${digest.slice(0, UNIQUE_LENGTH)}`;
}
