// push-node/connect/connect-route -> here: sockets that are not authenticated yet.
// Guarantees: bounded in number, in total and by address. A new one always gets a slot, so silent sockets cannot keep
// others out.
import type { Socket } from "node:net";
import { SlotsByAddress } from "@petrel/shared/kernel/limits/slots-by-address";
import { closeCodes, type CloseCode } from "@petrel/shared/protocol/frames/close-codes";
import { encodeServerFrame } from "@petrel/shared/protocol/frames/server-frames";
import type { ConnectionWebSocket } from "../connection/connection-web-socket.js";

export interface UnauthenticatedConnectionsOptions {
  readonly max: number;
  readonly maxPerAddress: number;
  /** A socket had to make room for another. */
  readonly onPushedOut: () => void;
}

interface Waiting {
  readonly ws: ConnectionWebSocket;
  readonly socket: Socket;
}

export class UnauthenticatedConnections {
  readonly #slots: SlotsByAddress<Waiting>;

  constructor({ max, maxPerAddress, onPushedOut }: UnauthenticatedConnectionsOptions) {
    this.#slots = new SlotsByAddress({
      max,
      maxPerAddress,
      onPushedOut: ({ ws, socket }) => {
        onPushedOut();
        if (ws.isOpen) {
          const message = "Too many connections are waiting to be authenticated.";
          ws.send(
            encodeServerFrame({ type: "error", code: "PETREL_UNAVAILABLE", message, action: "resume" }),
          );
          ws.close(closeCodes.tryAgainLater, "PETREL_UNAVAILABLE");
        }
        // At once: with time to answer the close, they would be as many as before.
        socket.destroySoon();
      },
    });
  }

  get size(): number {
    return this.#slots.size;
  }

  /** @returns a function to call when it is authenticated or gone */
  add(address: string, ws: ConnectionWebSocket, socket: Socket): () => void {
    const waiting = { ws, socket };
    this.#slots.take(address, waiting);
    return () => void this.#slots.free(address, waiting);
  }

  closeAll(code: CloseCode, reason: string): void {
    for (const { ws } of this.#slots.all()) ws.close(code, reason);
  }
}
