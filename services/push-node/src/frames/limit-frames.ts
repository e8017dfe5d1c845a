// open-connection, handle-frame -> here -> redis/reported-window-limiter: how many frames a user may send.
// Guarantees: a frame that is one too many closes its connection with 4429; who goes on all the same is cut; the usual
// frame costs a look-up. An ack that moves forward is not counted: the messages it names have paid for it.
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import type { ReportedWindowLimiter } from "@petrel/shared/redis/limits/reported-window-limiter";
import type { Connection } from "../connection/connection.js";

type Sender = Pick<Connection, "userId" | "phase" | "fail" | "terminate">;

/** What may be on its way when a client hears of the close, and more. */
const MAX_AFTER_CLOSE = 10_000;

/** @returns false where the frame is not to be heeded */
export type TakeFrame = (connection: Sender) => boolean;

export function createTakeFrame(limiter: Pick<ReportedWindowLimiter, "take">): TakeFrame {
  const afterClose = new WeakMap<Sender, number>();
  return (connection) => {
    if (connection.phase === "closing") {
      const count = (afterClose.get(connection) ?? 0) + 1;
      afterClose.set(connection, count);
      if (count === MAX_AFTER_CLOSE) connection.terminate();
      return false;
    }
    const waitMs = limiter.take(connection.userId);
    if (waitMs === 0) return true;
    connection.fail(
      closeCodes.tooMany,
      "PETREL_RATE_LIMITED",
      `This user sends too many frames: come back in ${Math.max(1, Math.ceil(waitMs / 1_000))} s.`,
      "backoff",
    );
    return false;
  };
}
