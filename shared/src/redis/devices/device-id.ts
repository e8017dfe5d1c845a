// redis/devices-store -> here: a device's id.
// Guarantees: the same for the same app and token, in either case; reveals nothing of the token.
import { createHash } from "node:crypto";
import type { NewDevice } from "../../protocol/fallback/device.js";

const UNIQUE_LENGTH = 16;

/** `d_` and 16 characters of base64url: 96 bits of SHA-256. */
export function deviceIdOf(device: NewDevice): string {
  const digest = createHash("sha256").update(partsOf(device).join("\n")).digest("base64url");
  return `d_${digest.slice(0, UNIQUE_LENGTH)}`;
}

function partsOf(device: NewDevice): string[] {
  switch (device.platform) {
    case "ios":
      return [device.platform, device.topic, device.environment, device.token.toLowerCase()];
    case "wechat":
      return [device.platform, device.appid, "", device.openid];
    // The endpoint identifies the browser; its keys may change.
    case "web":
      return [device.platform, "", "", device.endpoint];
  }
}
