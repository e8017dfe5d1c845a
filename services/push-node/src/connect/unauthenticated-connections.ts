// connect-route -> here: sockets that are nobody's yet.
// Guarantees: bounded in number, in all and for each address; one that has just come always has a place, so that
// sockets which stay and say nothing keep out nobody.
import type { Socket } from "node:net";
import { PlacesByAddress } from "@petrel/shared/kernel/limits/places-by-address";
import { closeCodes, type CloseCode } from "@petrel/shared/protocol/frames/close-codes";
import { encodeServerFrame } from "@petrel/shared/protocol/frames/server-frames";
import type { WebSocket } from "ws";

export interface UnauthenticatedConnectionsOptions {
  readonly max: number;
  readonly maxPerAddress: number;
  /** One had to make room for another. */
  readonly onPushedOut: () => void;
}

interface Waiting {
  readonly ws: WebSocket;
  readonly socket: Socket;
}

export class UnauthenticatedConnections {
  readonly #places: PlacesByAddress<Waiting>;

  constructor({ max, maxPerAddress, onPushedOut }: UnauthenticatedConnectionsOptions) {
    this.#places = new PlacesByAddress({
      max,
      maxPerAddress,
      onPushedOut: ({ ws, socket }) => {
        onPushedOut();
        if (ws.readyState === ws.OPEN) {
          const message = "Too many connections wait to be authenticated.";
          ws.send(
            encodeServerFrame({ type: "error", code: "PETREL_UNAVAILABLE", message, action: "resume" }),
          );
          ws.close(closeCodes.tryAgainLater, "PETREL_UNAVAILABLE");
        }
        // Not after the time that others have to answer a close: they would be as many as before.
        socket.destroySoon();
      },
    });
  }

  get size(): number {
    return this.#places.size;
  }

  /** @returns what to call when it is somebody's, or gone */
  add(address: string, ws: WebSocket, socket: Socket): () => void {
    const waiting = { ws, socket };
    this.#places.take(address, waiting);
    return () => void this.#places.free(address, waiting);
  }

  closeAll(code: CloseCode, reason: string): void {
    for (const { ws } of this.#places.all()) ws.close(code, reason);
  }
}
