// push-node/connect/open-connection -> here -> push-node/frames/{collect-acks, renew-token},
// push-node/topics/handle-topic-frames: a frame of a registered client.
// Guarantees: an invalid frame closes with 4400 and the reason, and so does an ack beyond what was sent. Frames beyond
// a user's rate limit close with 4429.
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import { parseClientFrame, type ClientFrame } from "@petrel/shared/protocol/frames/client-frames";
import type { CollectAcks } from "./collect-acks.js";
import type { Connection } from "../connection/connection.js";
import { costOfTopicFrame, type HandleTopicFrame } from "../topics/handle-topic-frames.js";
import type { TakeFrame } from "./limit-frames.js";
import type { RenewToken } from "./renew-token.js";

export interface HandleFrameDeps {
  readonly acks: Pick<CollectAcks, "add">;
  readonly renewToken: RenewToken;
  readonly handleTopicFrame: HandleTopicFrame;
  /** Limits how many frames a user may send. */
  readonly takeFrame: TakeFrame;
  /** The most bytes of messages that may wait in a socket; answers may exceed it, up to a limit of their own. */
  readonly outboundBoundBytes: number;
}

/** Room beyond the bound for a batch of messages and some answers. */
const BEYOND_BOUND_BYTES = 1024 * 1024;

export type HandleFrame = (connection: Connection, text: string) => void;

export function createHandleFrame(deps: HandleFrameDeps): HandleFrame {
  const { acks, renewToken, handleTopicFrame, takeFrame, outboundBoundBytes } = deps;
  return (connection, text) => {
    if (connection.waitingBytes > outboundBoundBytes + BEYOND_BOUND_BYTES) {
      // It keeps asking, but reads none of the answers.
      connection.fail(
        closeCodes.tooSlow,
        "PETREL_TOO_SLOW",
        "This connection does not read the answers.",
        "resume",
      );
      return;
    }
    const parsed = parseClientFrame(text);
    if (!parsed.ok) {
      connection.fail(closeCodes.badFrame, "PETREL_BAD_FRAME", parsed.problem, "stop");
      return;
    }
    const { frame } = parsed;
    const isProgress = frame.type === "ack" && frame.seq > connection.acked;
    if (!isProgress && !takeFrame(connection, costOf(frame))) return;
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
          "This connection is already authenticated.",
          "stop",
        );
        return;
      case "subscribe":
      case "unsubscribe":
      case "publish":
        handleTopicFrame(connection, frame);
        return;
    }
  };
}

function costOf(frame: ClientFrame): number {
  return frame.type === "subscribe" || frame.type === "unsubscribe" ? costOfTopicFrame(frame) : 1;
}
