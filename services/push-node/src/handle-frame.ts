// browser -> here -> collect-acks: what a client says once it is registered.
// Guarantees: a frame that is wrong closes with 4400 and says why; an ack beyond what was sent is such a frame.
import { closeCodes } from "@petrel/shared/protocol/close-codes";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { parseClientFrame } from "@petrel/shared/protocol/client-frames";
import type { VerifyToken } from "@petrel/shared/security/verified-token";
import type { CollectAcks } from "./collect-acks.js";
import type { Connection } from "./connection.js";

export interface HandleFrameDeps {
  readonly acks: CollectAcks;
  readonly verifyToken: VerifyToken;
  /** Bytes that messages may leave waiting in a socket; answers go on beyond, up to a limit of their own. */
  readonly outboundBoundBytes: number;
}

/** What a batch of messages may put on top of the bound, and some answers. */
const BEYOND_BOUND_BYTES = 1024 * 1024;
/** A topic that is named in an answer is cut to this, so that the answer is never larger than the question. */
const MAX_REF_LENGTH = 128;

export type HandleFrame = (connection: Connection, text: string) => void;

export function createHandleFrame({ acks, verifyToken, outboundBoundBytes }: HandleFrameDeps): HandleFrame {
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
        void renewToken(connection, frame.token, verifyToken);
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
          action: "stop",
          ref: frame.topic.slice(0, MAX_REF_LENGTH),
        });
        return;
    }
  };
}

/** A fresh token for the same user: the connection goes on under it. */
async function renewToken(connection: Connection, token: string, verifyToken: VerifyToken): Promise<void> {
  try {
    const { userId, expiresAtMs } = await verifyToken(token);
    if (userId !== connection.userId) {
      connection.fail(closeCodes.revoked, "PETREL_USER_CHANGED", "The token is for another user.", "stop");
      return;
    }
    connection.tokenExpiresAtMs = expiresAtMs;
    connection.expiryAnnounced = false;
    if (!connection.isOpen) return;
    connection.send({
      type: "token_accepted",
      expiresIn: Math.max(0, Math.floor((expiresAtMs - Date.now()) / 1000)),
    });
  } catch (error) {
    if (!isUnavailable(error)) {
      failAuthentication(connection, error);
      return;
    }
    // The token that the connection came with is good until it ends: no reason to close.
    connection.send({
      type: "error",
      code: "PETREL_UNAVAILABLE",
      message: "The token cannot be checked now.",
      action: "backoff",
      ref: "token",
    });
  }
}

/** Whether the check itself failed, and says nothing of the token. */
function isUnavailable(error: unknown): boolean {
  return !(error instanceof PetrelError) || error.status >= 500;
}

/** Closes with what a failed verification means for the client. */
export function failAuthentication(connection: Pick<Connection, "fail">, error: unknown): void {
  if (!(error instanceof PetrelError) || isUnavailable(error)) {
    connection.fail(
      closeCodes.tryAgainLater,
      "PETREL_UNAVAILABLE",
      "The token cannot be checked now.",
      "resume",
    );
    return;
  }
  connection.fail(closeCodes.tokenBad, error.code, error.message, "refresh");
}
