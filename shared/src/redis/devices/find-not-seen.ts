// dispatch/sweep-devices -> here: devices that were not seen for long, and how many are in quarantine.
// Guarantees: changes nothing; a key of the wrong type affects only its own user.
import { appOf, tokenEndOf } from "../../protocol/fallback/device.js";
import type { Redis } from "../connection/connect.js";
import { decodeDeviceEntry } from "./device-entry.js";
import type { DeviceVerdict } from "./invalidate-devices.js";
import type { PartitionKeys } from "../keys.js";

export interface LookAtDevices {
  /** Sweep these: devices that were last seen before `beforeMs`. */
  readonly notSeen: readonly DeviceVerdict[];
  /** How many of the others are in quarantine at `nowMs`. */
  readonly quarantined: number;
}

/** @param userIds of one partition */
export async function findNotSeen(
  redis: Redis,
  keys: PartitionKeys,
  userIds: readonly string[],
  { beforeMs, nowMs }: { readonly beforeMs: number; readonly nowMs: number },
): Promise<LookAtDevices> {
  const ofUsers = await Promise.all(
    // A key of the wrong type affects only its own user.
    userIds.map((userId) => redis.hgetall(keys.devices(userId)).catch(ifWrongType)),
  );
  let quarantined = 0;
  const notSeen = userIds.flatMap((userId, i) =>
    Object.entries(ofUsers[i] ?? {}).flatMap(([deviceId, text]) => {
      const device = decodeDeviceEntry(deviceId, text)?.device;
      if (device === undefined) return [];
      if (device.lastSeenAtMs >= beforeMs) {
        if (device.platform === "ios" && (device.quarantinedUntilMs ?? 0) > nowMs) quarantined++;
        return [];
      }
      return [
        {
          what: "sweep",
          beforeMs,
          userId,
          deviceId,
          tokenEnd: tokenEndOf(device),
          reason: "not-seen",
          topic: appOf(device),
          ...(device.platform === "ios" ? { environment: device.environment } : {}),
        } as const,
      ];
    }),
  );
  return { notSeen, quarantined };
}

function ifWrongType(error: unknown): Readonly<Record<string, string>> {
  if (error instanceof Error && error.message.startsWith("WRONGTYPE")) return {};
  throw error;
}
