// dispatch/channels/apns/apns-channel -> here: which of a user's devices already have a message while others must still
// be tried.
// Guarantees: kept until the message expires, so also for a replay of its dead letter. Nothing is stored for a message
// that is settled at its first attempt.
import type { Redis } from "../connection/connect.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface SentMessage {
  readonly id: string;
  readonly seq: number;
  readonly epoch: string;
  /** Ms since 1970 by Redis' clock. */
  readonly expiresAtMs: number;
}

/** @returns device ids */
export async function readDeviceSends(
  redis: Redis,
  keys: PartitionKeys,
  messageId: string,
): Promise<ReadonlySet<string>> {
  return new Set(await redis.smembers(keys.deviceSends(messageId)));
}

/**
 * Stores nothing if the message's record is gone, or its id belongs to another message by now.
 * @param devices ids, not empty
 */
export async function keepDeviceSends(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  { id, seq, epoch, expiresAtMs }: SentMessage,
  devices: ReadonlySet<string>,
): Promise<void> {
  await scripts.run(
    "keep-device-sends.v1",
    [keys.deviceSends(id), keys.record(id)],
    [seq, epoch, Math.ceil(expiresAtMs), ...devices],
  );
}
