// push-node/{deliver, catch-up, register-connection} -> here: whether a message of another epoch than its connection's
// begins a history that this connection does not know.
// Guarantees: by the user's epoch in Redis alone, never by a clock or a number: the next master's clock may be behind,
// and where Redis loses its tail, `seq` goes back. An epoch never comes again: while the user's is the connection's,
// all others are past. One that is known to be past is not asked about again.
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { Redis } from "@petrel/shared/redis/connection/connect";
import type { Connection } from "../connection/connection.js";

export interface CheckEpochDeps {
  readonly redis: Redis;
  readonly logger: Logger;
}

/**
 * Asks the client to come again where the epoch is not past; where Redis does not say so, too: what that costs is a
 * reconnect.
 * @returns whether the epoch is past: what it numbered before the connection was registered was read from the inbox
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
      // After the message, which is of the user's epoch at its time: a newer one than the connection's is seen here.
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
