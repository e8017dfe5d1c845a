// Checks, before a service starts, that the Redis behind it can keep what Petrel promises.
// Guarantees: too old a server, one that evicts keys, or one laid out with another partition count is refused, in
// one clear line.
import { PetrelError } from "../kernel/errors.js";
import type { Redis } from "./connect.js";
import { clusterKeys } from "./keys.js";

const MIN_REDIS = [7, 0] as const;
const MIN_VALKEY = [7, 2] as const;

/** @throws PetrelError PETREL_UNAVAILABLE with what is wrong and what would be right */
export async function checkServer(redis: Redis, partitionCount: number): Promise<void> {
  const info = await redis.info("server");
  const valkey = /^valkey_version:(\S+)/m.exec(info)?.[1];
  const version = valkey ?? /^redis_version:(\S+)/m.exec(info)?.[1] ?? "0";
  const [major, minor] = valkey === undefined ? MIN_REDIS : MIN_VALKEY;
  const [haveMajor = 0, haveMinor = 0] = version.split(".").map(Number);
  if (haveMajor < major || (haveMajor === major && haveMinor < minor)) {
    throw refused(`it is version ${version}; Petrel needs Redis 7.0 or Valkey 7.2, or newer`);
  }
  const memory = await redis.info("memory");
  const policy = /^maxmemory_policy:(\S+)/m.exec(memory)?.[1] ?? "unknown";
  if (policy !== "noeviction") {
    throw refused(`its maxmemory-policy is ${policy}, which drops data; set it to noeviction`);
  }
  await redis.set(clusterKeys.partitionCount, String(partitionCount), "NX");
  const laidOutWith = await redis.get(clusterKeys.partitionCount);
  if (laidOutWith !== String(partitionCount)) {
    throw refused(
      `its data is divided into ${laidOutWith} partitions, this service is set to ${partitionCount}; ` +
        `set PARTITIONS=${laidOutWith}`,
    );
  }
}

function refused(why: string): PetrelError {
  return new PetrelError("PETREL_UNAVAILABLE", `Redis cannot be used: ${why}.`);
}
