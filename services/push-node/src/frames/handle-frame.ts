// browser -> here -> collect-acks: what a client says once it is registered.
// Guarantees: a frame that is wrong closes with 4400 and says why; an ack beyond what was sent is such a frame.
// Frames beyond a user's share close with 4429.
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import { parseClientFrame } from "@petrel/shared/protocol/frames/client-frames";
import type { CollectAcks } from "./collect-acks.js";
import type { Connection } from "../connection/connection.js";
import type { TakeFrame } from "./limit-frames.js";
import type { RenewToken } from "./renew-token.js";

export interface HandleFrameDeps {
  readonly acks: CollectAcks;
  readonly renewToken: RenewToken;
  /** How many frames a user may send. */
  readonly takeFrame: TakeFrame;
  /** Bytes that messages may leave waiting in a socket; answers go on beyond, up to a limit of their own. */
  readonly outboundBoundBytes: number;
}

/** What a batch of messages may put on top of the bound, and some answers. */
const BEYOND_BOUND_BYTES = 1024 * 1024;
/** A topic that is named in an answer is cut to this, so that the answer is never larger than the question. */
const MAX_REF_LENGTH = 128;

export type HandleFrame = (connection: Connection, text: string) => void;

export function createHandleFrame(deps: HandleFrameDeps): HandleFrame {
  const { acks, renewToken, takeFrame, outboundBoundBytes } = deps;
  return (connection, text) => {
    if (connection.waitingBytes > outboundBoundBytes + BEYOND_BOUND_BYTES) {
      // It asks and asks, and takes none of the answers.
      connection.fail(closeCodes.tooSlow, "PETREL_TOO_SLOW", "This connection takes no answers.", "resume");
      return;
    }
    const parsed = parseClientFrame(text);
    if (!parsed.ok) {
      connection.fail(closeCodes.badFrame, "PETREL_BAD_FRAME", parsed.problem, "stop");
      return;
    }
    const { frame } = parsed;
    const isProgress = frame.type === "ack" && frame.seq > connection.acked;
    if (!isProgress && !takeFrame(connection)) return;
    switch (frame.type) {
      case "ack":
        if (!acks.add(connection, frame.seq)) {
          connection.fail(
            closeCodes.badFrame,
            "PETREL_ACK_BEYOND_SENT",
            `The ack names ${frame.seq}; the newest sent on this connection is ${connection.lastSent}.`,
            "stop",
          );
        }
        return;
      case "ping":
        connection.send({ type: "pong" });
        return;
      case "token":
        void renewToken(connection, frame.token);
        return;
      case "auth":
        connection.fail(
          closeCodes.badFrame,
          "PETREL_BAD_FRAME",
          "This connection is authenticated already.",
          "stop",
        );
        return;
      case "subscribe":
      case "unsubscribe":
        connection.send({
          type: "error",
          code: "PETREL_NOT_IMPLEMENTED",
          message: "Topics are not built yet.",
          action: "none",
          ref: frame.topic.slice(0, MAX_REF_LENGTH),
          on: frame.type,
        });
        return;
    }
  };
}
