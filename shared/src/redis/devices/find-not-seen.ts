// dispatch/sweep-devices -> here: which devices were not seen for long.
// Guarantees: nothing is changed here; a key of another kind holds up nobody else's.
import { tokenEndOf } from "../../protocol/fallback/device.js";
import type { Redis } from "../connection/connect.js";
import { decodeDeviceEntry } from "./device-entry.js";
import type { DeviceVerdict } from "./invalidate-devices.js";
import type { PartitionKeys } from "../keys.js";

/**
 * @param userIds of one partition
 * @returns what is to be swept: devices that were last seen before `beforeMs`
 */
export async function findNotSeen(
  redis: Redis,
  keys: PartitionKeys,
  userIds: readonly string[],
  beforeMs: number,
): Promise<DeviceVerdict[]> {
  const ofUsers = await Promise.all(
    // A key of another kind holds up nobody else's.
    userIds.map((userId) => redis.hgetall(keys.devices(userId)).catch(ifWrongType)),
  );
  return userIds.flatMap((userId, i) =>
    Object.entries(ofUsers[i] ?? {}).flatMap(([deviceId, text]) => {
      const device = decodeDeviceEntry(deviceId, text)?.device;
      if (device === undefined || device.lastSeenAtMs >= beforeMs) return [];
      return [
        {
          what: "sweep",
          beforeMs,
          userId,
          deviceId,
          tokenEnd: tokenEndOf(device),
          reason: "not-seen",
          ...(device.platform === "ios"
            ? { topic: device.topic, environment: device.environment }
            : { topic: device.appid }),
        } as const,
      ];
    }),
  );
}

function ifWrongType(error: unknown): Readonly<Record<string, string>> {
  if (error instanceof Error && error.message.startsWith("WRONGTYPE")) return {};
  throw error;
}
