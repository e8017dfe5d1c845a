// dispatch/sweep-devices -> here: which devices were not seen for long.
// Guarantees: each user that is there during a whole round is come upon at least once; nothing is changed here.
import { tokenEndOf } from "../protocol/device.js";
import type { Redis } from "./connect.js";
import { decodeDeviceEntry } from "./device-entry.js";
import type { DeviceVerdict } from "./invalidate-devices.js";
import type { PartitionKeys } from "./keys.js";

/** A step through all keys of one server. */
export interface DeviceScan {
  /** Partition -> ids of users with devices that were come upon. */
  readonly found: ReadonlyMap<number, string[]>;
  /** Where to go on; "0" at the end. */
  readonly cursor: string;
}

const DEVICES_KEY = /^petrel:\{p(\d+)\}:devices:(.+)$/;

/**
 * https://redis.io/docs/latest/commands/scan/
 * @param count keys to look at
 */
export async function scanDevices(redis: Redis, cursor: string, count: number): Promise<DeviceScan> {
  const [next, names] = await redis.scan(cursor, "MATCH", "petrel:{p*}:devices:*", "COUNT", count);
  const found = new Map<number, string[]>();
  for (const name of names) {
    const match = DEVICES_KEY.exec(name);
    if (match === null) continue;
    const partition = Number(match[1]);
    const users = found.get(partition);
    if (users === undefined) found.set(partition, [match[2] ?? ""]);
    else users.push(match[2] ?? "");
  }
  return { found, cursor: next };
}

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
