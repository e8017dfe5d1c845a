// A stop's signal -> http-app -> here: an HTTP server goes, and nobody is cut off for it.
// Guarantees: nothing is accepted any more; for a moment every answer says `Connection: close`, so that a client that
// keeps its connections busy goes by itself, between two requests; then what stayed idle is closed, and half a head with
// it, and whoever has sent half a body is answered. Requests that are being worked on are waited for.
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { Server as NetServer, type Socket } from "node:net";
import { Server as TlsServer } from "node:tls";
import { responseUnderWay } from "./answer-below-framework.js";
import type { BodiesUnderWay } from "./bodies-under-way.js";
import { PetrelError } from "../errors.js";

export interface StopServingOptions {
  readonly bodies: BodiesUnderWay;
  /** How long answers say so before anything is closed. */
  readonly windowMs: number;
  /** Ends the sockets that have not come as far as HTTP. */
  readonly cutHandshakes: () => void;
}

const LOOK_INTERVAL_MS = 25;
/** What an answer that is written may take to leave, behind the window: its client may not read. */
const FLUSH_MS = 3_000;

/** The sockets that speak HTTP with a server; those of an upgrade do not any more. */
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

  /** It speaks something else from now on. */
  release(socket: Socket): void {
    socket.off("close", this.#forget);
    this.#open.delete(socket);
  }

  /** @returns when no socket is left that speaks HTTP */
  async stop({ bodies, windowMs, cutHandshakes }: StopServingOptions): Promise<void> {
    // Not the HTTP server's own, which would cut who is between two requests at once.
    NetServer.prototype.close.call(this.#server);
    this.#sayClose();
    const startedAtMs = performance.now();
    let isClosing = false;
    await new Promise<void>((resolve) => {
      const look = (): void => {
        const passedMs = performance.now() - startedAtMs;
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
   * Answers that are still to come; the framework says so in those to requests that come from now on. Of several that
   * were sent at once only the last one's: those behind it would go unanswered.
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
      const response = responseUnderWay(socket);
      const isIdle = response === undefined && socket.writable;
      if (isIdle || (cutsAnswers && response?.writableEnded !== false)) socket.destroy();
    }
  }
}

function stopping(): PetrelError {
  return new PetrelError("PETREL_UNAVAILABLE", "This process stops: send the request again.");
}
