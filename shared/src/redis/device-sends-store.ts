// dispatch/channels/apns/apns-channel -> here: which of a user's devices have a message already, while others of them are
// still to be tried.
// Guarantees: kept until the message's time is over, so also where its dead letter is replayed; nothing is kept of a
// message that was settled at its first attempt.
import type { Redis } from "./connect.js";
import type { PartitionKeys } from "./keys.js";

/** @returns device ids */
export async function readDeviceSends(
  redis: Redis,
  keys: PartitionKeys,
  messageId: string,
): Promise<ReadonlySet<string>> {
  return new Set(await redis.smembers(keys.deviceSends(messageId)));
}

/**
 * @param devices ids, not empty
 * @param keepUntilMs the message's expiry, ms since 1970 by Redis' clock
 */
export async function keepDeviceSends(
  redis: Redis,
  keys: PartitionKeys,
  messageId: string,
  devices: ReadonlySet<string>,
  keepUntilMs: number,
): Promise<void> {
  const key = keys.deviceSends(messageId);
  const results = await redis
    .multi()
    .sadd(key, ...devices)
    .pexpireat(key, keepUntilMs)
    .exec();
  const failed = results?.find(([error]) => error !== null)?.[0];
  if (failed !== undefined && failed !== null) throw failed;
}
