// push-node/app -> here: a server's WebSocket whose every close code is one of the contract's.
// Guarantees: a message in too many parts closes with 1009, which clients know, instead of the 1008 of `ws`.
import { WebSocket } from "ws";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";

/** What `ws` closes with when a message has more fragments, or comes in more pieces, than it may (RFC 6455: policy). */
const POLICY_VIOLATION = 1008;

export class ConnectionWebSocket extends WebSocket {
  override close(code?: number, reason?: string | Buffer): void {
    // A client's own 1008 is repeated to it, with its reason.
    if (code === POLICY_VIOLATION && reason === undefined)
      super.close(closeCodes.messageTooBig, "too many parts");
    else super.close(code, reason);
  }
}
