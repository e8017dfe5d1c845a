// push-node/deliver/{deliver, catch-up}, push-node/connect/register-connection -> here: does a message of an epoch
// other than its connection's begin a history that this connection does not know?
// Guarantees: only the user's epoch in Redis decides, never a clock or a number: the next master's clock may be behind,
// and `seq` goes back if Redis loses its tail. An epoch never returns: while the user's is the connection's, all others
// are past. A past epoch is not checked twice.
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { Redis } from "@petrel/shared/redis/connection/connect";
import type { Connection } from "../connection/connection.js";

export interface CheckEpochDeps {
  readonly redis: Redis;
  readonly logger: Logger;
}

/**
 * Asks the client to reconnect, unless Redis says that the epoch is past.
 * @returns whether it is past; then its messages were read from the inbox before the connection was registered
 */
export type CheckEpoch = (connection: Connection, epoch: string) => Promise<boolean>;

export function createCheckEpoch({ redis, logger }: CheckEpochDeps): CheckEpoch {
  return async (connection, epoch) => {
    const { keys, userId } = connection;
    if (connection.pastEpoch === epoch) return true;
    if (connection.nextEpoch === epoch) {
      connection.reconnect(0, "PETREL_EPOCH_CHANGED");
      return false;
    }
    connection.epochUnderCheck = epoch;
    try {
      // Read after the message, which carries the user's epoch of its time: an epoch newer than the connection's shows
      // here.
      const current = await redis.hget(keys.user(userId), "epoch");
      if (current === connection.epoch) {
        connection.pastEpoch = epoch;
        return true;
      }
    } catch (error) {
      logger.warn({ connection: connection.id, reason: describeError(error) }, "epoch not checked");
    } finally {
      if (connection.epochUnderCheck === epoch) connection.epochUnderCheck = "";
    }
    connection.reconnect(0, "PETREL_EPOCH_CHANGED");
    return false;
  };
}
