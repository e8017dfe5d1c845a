// A stop's signal -> http-app -> here: an HTTP server stops without cutting anyone off.
// Guarantees: no new connection is accepted. For a moment every answer says `Connection: close`, so that a busy client
// leaves between two requests. Then idle connections and half-sent heads are closed, and half-sent bodies get an error.
// The stop waits for requests that are being worked on.
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { Server as NetServer, type Socket } from "node:net";
import { Server as TlsServer } from "node:tls";
import { awaitsDirectAnswer, responseUnderWay } from "./answer-below-framework.js";
import type { BodiesUnderWay } from "./bodies-under-way.js";
import { PetrelError } from "../errors.js";

export interface StopServingOptions {
  readonly bodies: BodiesUnderWay;
  /** How long answers say `Connection: close` before anything is closed. */
  readonly windowMs: number;
  /** Destroys the sockets still in their TLS handshake or without a request. */
  readonly cutHandshakes: () => void;
}

const LOOK_INTERVAL_MS = 25;
/** How long a written answer may take to be sent after the window: its client may not be reading. */
const FLUSH_MS = 3_000;

/** The sockets that speak HTTP with a server. An upgraded socket leaves the set. */
export class HttpSockets {
  readonly #open = new Set<Socket>();
  readonly #server: Server;
  readonly #forget: (this: Socket) => void;

  constructor(server: Server) {
    this.#server = server;
    const open = this.#open;
    const forget = function (this: Socket): void {
      open.delete(this);
    };
    server.on(server instanceof TlsServer ? "secureConnection" : "connection", (socket: Socket) => {
      open.add(socket);
      socket.once("close", forget);
    });
    this.#forget = forget;
  }

  /** The socket speaks another protocol from now on. */
  release(socket: Socket): void {
    socket.off("close", this.#forget);
    this.#open.delete(socket);
  }

  /** @returns once no socket speaks HTTP any more */
  async stop({ bodies, windowMs, cutHandshakes }: StopServingOptions): Promise<void> {
    // Not the HTTP server's own `close`: it would cut clients off between two requests.
    NetServer.prototype.close.call(this.#server);
    this.#sayClose();
    let looks = 0;
    let isClosing = false;
    await new Promise<void>((resolve) => {
      const look = (): void => {
        // Counted, not read from a clock: a process that was held up has not yet read what its clients sent meanwhile.
        const passedMs = LOOK_INTERVAL_MS * looks++;
        if (passedMs >= windowMs) cutHandshakes();
        if (passedMs >= windowMs && this.#open.size > 0) {
          if (!isClosing) bodies.refuseAll(stopping);
          isClosing = true;
          this.#closeWhatWaits(passedMs >= windowMs + FLUSH_MS);
        }
        if (this.#open.size > 0) return;
        clearInterval(timer);
        resolve();
      };
      const timer = setInterval(look, LOOK_INTERVAL_MS);
      look();
    });
  }

  /**
   * Marks the answers that are still to come; the framework marks those to later requests. Of pipelined requests only
   * the last answer is marked: the requests behind an earlier mark would never be answered.
   */
  #sayClose(): void {
    const last = new WeakMap<Socket, ServerResponse>();
    for (const socket of this.#open) {
      const response = responseUnderWay(socket);
      if (response === undefined || response.headersSent) continue;
      response.setHeader("connection", "close");
      last.set(socket, response);
    }
    this.#server.prependListener("request", ({ socket }: IncomingMessage, response: ServerResponse) => {
      const before = last.get(socket);
      if (before?.headersSent === false) before.removeHeader("connection");
      last.set(socket, response);
    });
  }

  #closeWhatWaits(cutsAnswers: boolean): void {
    for (const socket of this.#open) {
      // Its answer says `Connection: close`, and ends it.
      if (awaitsDirectAnswer(socket)) continue;
      const response = responseUnderWay(socket);
      const isIdle = response === undefined && socket.writable;
      if (isIdle || (cutsAnswers && response?.writableEnded !== false)) socket.destroy();
    }
  }
}

function stopping(): PetrelError {
  return new PetrelError("PETREL_UNAVAILABLE", "This process is stopping: send the request again.");
}
