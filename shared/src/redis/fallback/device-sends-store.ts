// dispatch/channels/apns/apns-channel -> here: which of a user's devices have a message already, while others of them are
// still to be tried.
// Guarantees: kept until the message's time is over, so also where its dead letter is replayed; nothing is kept of a
// message that was settled at its first attempt.
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
 * Nothing is kept where the message's record is gone, or its id is another message's by now.
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
