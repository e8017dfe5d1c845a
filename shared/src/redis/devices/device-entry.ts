// redis/devices-store -> here: how a device stands in its user's hash; scripts read the first four parts.
// Guarantees: what is encoded decodes to the same; an entry that cannot be read is none.
import type { ApnsEnvironment, Device, NewDevice } from "../../protocol/fallback/device.js";

/**
 * registeredAtMs, lastSeenAtMs, quarantinedUntilMs (0: not), claim; then platform and what it needs; of an iPhone at last
 * "t" and when a push to it was first taken, where one was. By tabs.
 */
export interface DeviceEntry {
  readonly device: Device;
  /** The registration that wrote it, see redis/devices-store.ts. */
  readonly claim: string;
}

export function encodeDeviceEntry(device: NewDevice, claim: string, atMs: number): string {
  const parts =
    device.platform === "ios"
      ? [device.platform, device.token.toLowerCase(), device.topic, device.environment]
      : [device.platform, device.openid, device.appid];
  return [atMs, atMs, 0, claim, ...parts].join("\t");
}

/** @returns undefined where the text is no such entry */
export function decodeDeviceEntry(id: string, text: string): DeviceEntry | undefined {
  const [registeredAt, lastSeen, quarantinedUntil, claim = "", platform, first, second, environment, taken] =
    text.split("\t");
  if (first === undefined || second === undefined) return undefined;
  const times = { id, registeredAtMs: Number(registeredAt), lastSeenAtMs: Number(lastSeen) };
  if (platform === "wechat") {
    return { claim, device: { platform, ...times, openid: first, appid: second } };
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
