// push-node/connect/open-connection, push-node/frames/handle-frame -> here -> limits/reported-window-limiter: how many
// frames a user may send.
// Guarantees: one frame too many closes its connection with 4429; a client that keeps sending is disconnected. The
// usual frame costs a look-up. An ack that moves forward is not counted: its messages have paid for it.
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import type { ReportedWindowLimiter } from "@petrel/shared/redis/limits/reported-window-limiter";
import type { Connection } from "../connection/connection.js";

type Sender = Pick<Connection, "userId" | "phase" | "fail" | "terminate">;

/** More than can be in flight when a client learns of the close. */
const MAX_AFTER_CLOSE = 10_000;

/**
 * @param count how many frames it counts as; 1 by default
 * @returns false if the frame must be ignored
 */
export type TakeFrame = (connection: Sender, count?: number) => boolean;

export function createTakeFrame(limiter: Pick<ReportedWindowLimiter, "take">): TakeFrame {
  const afterClose = new WeakMap<Sender, number>();
  return (connection, count) => {
    if (connection.phase === "closing") {
      const count = (afterClose.get(connection) ?? 0) + 1;
      afterClose.set(connection, count);
      if (count === MAX_AFTER_CLOSE) connection.terminate();
      return false;
    }
    const waitMs = limiter.take(connection.userId, count);
    if (waitMs === 0) return true;
    connection.fail(
      closeCodes.tooMany,
      "PETREL_RATE_LIMITED",
      `This user sends too many frames: try again in ${Math.max(1, Math.ceil(waitMs / 1_000))} s.`,
      "backoff",
    );
    return false;
  };
}
