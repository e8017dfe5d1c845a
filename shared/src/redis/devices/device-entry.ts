// redis/devices-store -> here: a device's entry in its user's hash; scripts read the first four parts.
// Guarantees: decoding an encoded entry restores it; an unreadable entry counts as none.
import type { ApnsEnvironment, Device, NewDevice } from "../../protocol/fallback/device.js";

/**
 * Parts, separated by tabs: registeredAtMs, lastSeenAtMs, quarantinedUntilMs (0: none), claim, platform, and the
 * platform's own fields. Once a push was accepted, an iPhone's entry ends with "t" and the time of the first one.
 */
export interface DeviceEntry {
  readonly device: Device;
  /** The registration that wrote it, see redis/devices-store.ts. */
  readonly claim: string;
}

export function encodeDeviceEntry(device: NewDevice, claim: string, atMs: number): string {
  return [atMs, atMs, 0, claim, device.platform, ...partsOf(device)].join("\t");
}

function partsOf(device: NewDevice): (string | number)[] {
  switch (device.platform) {
    case "ios":
      return [device.token.toLowerCase(), device.topic, device.environment];
    case "wechat":
      return [device.openid, device.appid];
    case "web":
      return [device.endpoint, device.p256dh, device.auth, device.expiresAtMs ?? ""];
  }
}

/** @returns undefined if the text is not such an entry */
export function decodeDeviceEntry(id: string, text: string): DeviceEntry | undefined {
  const [registeredAt, lastSeen, quarantinedUntil, claim = "", platform, first, second, environment, taken] =
    text.split("\t");
  if (first === undefined || second === undefined) return undefined;
  const times = { id, registeredAtMs: Number(registeredAt), lastSeenAtMs: Number(lastSeen) };
  if (platform === "wechat") {
    return { claim, device: { platform, ...times, openid: first, appid: second } };
  }
  if (platform === "web") {
    if (environment === undefined) return undefined;
    const keys = { endpoint: first, p256dh: second, auth: environment };
    const expiresAtMs = Number(taken ?? "");
    const expiry = expiresAtMs > 0 ? { expiresAtMs } : {};
    return { claim, device: { platform, ...times, ...keys, ...expiry } };
  }
  if (platform !== "ios" || environment === undefined) return undefined;
  const quarantinedUntilMs = Number(quarantinedUntil);
  const isTaken = /^t\d+$/.test(taken ?? "") || times.lastSeenAtMs > times.registeredAtMs;
  return {
    claim,
    device: {
      platform,
      ...times,
      token: first,
      topic: second,
      environment: environment as ApnsEnvironment,
      ...(quarantinedUntilMs > 0 ? { quarantinedUntilMs } : {}),
      ...(isTaken ? { isTaken: true as const } : {}),
    },
  };
}
