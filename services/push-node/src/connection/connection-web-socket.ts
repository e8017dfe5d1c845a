// push-node/app -> here: the server's end of a WebSocket; it closes only with the contract's codes.
// Guarantees: a message in too many parts closes with 1009, which clients know, instead of the 1008 of `ws`.
import { WebSocket } from "ws";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";

/** The code with which `ws` refuses a message of too many fragments or pieces (RFC 6455: policy violation). */
const POLICY_VIOLATION = 1008;

export class ConnectionWebSocket extends WebSocket {
  override close(code?: number, reason?: string | Buffer): void {
    // `ws` repeats a client's own 1008 to it, and gives a reason then.
    if (code === POLICY_VIOLATION && reason === undefined)
      super.close(closeCodes.messageTooBig, "too many parts");
    else super.close(code, reason);
  }
}
