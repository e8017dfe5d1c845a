// One socket's life: open, credential, welcome, frames, liveness, end.
// Guarantees: `onEnd` comes exactly once, also where the socket's own close event would come late or never.
import { ABNORMAL_CLOSURE, CLIENT_LEAVES_SOCKET } from "./close-policy.js";
import { describeFailure } from "../client-error.js";
import {
  parseServerFrame,
  type ClientFrame,
  type ErrorFrame,
  type ServerFrame,
  type WelcomeFrame,
} from "../frames.js";
import { Liveness } from "./liveness.js";
import { SOCKET_CLOSED, SOCKET_OPEN, type Socket, type SocketConstructor } from "./socket.js";

export interface ConnectionEnd {
  /** The close event's code, or 1006 where the client gave the socket up. */
  readonly code: number;
  readonly reason: string;
  /** The `error` frame that was the last thing the server said. */
  readonly error: ErrorFrame | undefined;
}

export interface ConnectionOptions {
  readonly WebSocket: SocketConstructor;
  /** With its query. */
  readonly url: string;
  readonly protocols: string[];
  /** Sent as soon as the socket is open, where the credential is not part of the handshake. */
  readonly firstFrame: ClientFrame | undefined;
  /** From now to the welcome. */
  readonly connectTimeoutMs: number;
  readonly onWelcome: (connection: Connection, welcome: WelcomeFrame) => void;
  /** Frames after the welcome, and `error` frames before it. */
  readonly onFrame: (connection: Connection, frame: Exclude<ServerFrame, WelcomeFrame>) => void;
  readonly onBadFrame: (problem: string) => void;
  readonly onEnd: (connection: Connection, end: ConnectionEnd) => void;
}

export class Connection {
  /** The epoch of the welcome; empty before it. */
  epoch = "";
  /** The highest number that came over this socket: acknowledging more is an error of the protocol. */
  highestSeq = 0;
  lastAckedSeq = 0;

  readonly #options: ConnectionOptions;
  readonly #socket: Socket;
  readonly #connectTimer: ReturnType<typeof setTimeout>;
  #liveness: Liveness | undefined;
  #lastError: ErrorFrame | undefined;
  #socketProblem = "";
  #ended = false;

  /** @throws whatever the WebSocket constructor throws, such as a SyntaxError for a token that is no token */
  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#socket = new options.WebSocket(options.url, options.protocols);
    this.#connectTimer = setTimeout(
      () => this.abandon(`no welcome within ${options.connectTimeoutMs} ms`),
      options.connectTimeoutMs,
    );
    this.#socket.addEventListener("open", () => {
      if (options.firstFrame !== undefined) this.send(options.firstFrame);
    });
    this.#socket.addEventListener("message", ({ data }) => this.#receive(data));
    // Stays for good: without a listener `ws` throws its errors, also those of a socket that is being left.
    this.#socket.addEventListener("error", ({ message }) => {
      // The cause, such as ECONNREFUSED: the close event behind it says only 1006.
      this.#socketProblem = message ?? "";
    });
    this.#socket.addEventListener("close", ({ code = ABNORMAL_CLOSURE, reason = "" }) =>
      this.#end(code, reason === "" ? this.#socketProblem : reason),
    );
  }

  /** @returns whether the socket took it; a frame that is not taken is not sent later */
  send(frame: ClientFrame): boolean {
    if (this.#ended || this.#socket.readyState !== SOCKET_OPEN) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** Asks for a sign of life now, and gives the socket up if none comes within `withinMs`. */
  probe(withinMs: number): void {
    this.#liveness?.probe(withinMs);
  }

  /**
   * Closes by a close frame and waits for the other side's, at most `graceMs`.
   * The caller is told no more by `onEnd`.
   */
  async close(code: number, reason: string, graceMs: number): Promise<void> {
    this.#release();
    if (this.#socket.readyState === SOCKET_CLOSED) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        this.#socket.terminate?.();
        resolve();
      }, graceMs);
      this.#socket.addEventListener("close", () => {
        clearTimeout(timer);
        resolve();
      });
      this.#closeSocket(code, reason);
    });
  }

  /** Gives the socket up at once: it is silent, or was never answered. */
  abandon(reason: string): void {
    if (this.#ended) return;
    // The close event of a dead socket can take minutes; nobody waits for it.
    this.#end(ABNORMAL_CLOSURE, reason);
    if (this.#socket.terminate !== undefined) this.#socket.terminate();
    else this.#closeSocket(CLIENT_LEAVES_SOCKET, reason);
  }

  /** A reason that the socket refuses must not keep it open: the user would stay online. */
  #closeSocket(code: number, reason: string): void {
    try {
      this.#socket.close(code, reason);
    } catch {
      this.#socket.close();
    }
  }

  #receive(data: unknown): void {
    if (this.#ended) return;
    this.#liveness?.sawFrame();
    let frame: ServerFrame;
    try {
      frame = parseServerFrame(data);
    } catch (error) {
      this.#options.onBadFrame(describeFailure(error));
      return;
    }
    // An error that answers one frame (`ref`) says nothing about the connection.
    this.#lastError = frame.type === "error" && frame.ref === undefined ? frame : undefined;
    if (frame.type === "welcome") {
      if (this.epoch === "") this.#welcomed(frame);
      return;
    }
    // Nothing but an error has a meaning before the welcome.
    if (this.epoch !== "" || frame.type === "error") this.#options.onFrame(this, frame);
  }

  #welcomed(welcome: WelcomeFrame): void {
    clearTimeout(this.#connectTimer);
    this.epoch = welcome.epoch;
    this.highestSeq = welcome.after;
    this.lastAckedSeq = welcome.after;
    this.#liveness = new Liveness({
      pingMs: welcome.pingSeconds * 1000,
      sendPing: () => this.send({ type: "ping" }),
      onSilence: (silentMs) => this.abandon(`nothing from the server for ${Math.round(silentMs)} ms`),
    });
    this.#options.onWelcome(this, welcome);
  }

  #end(code: number, reason: string): void {
    if (this.#ended) return;
    this.#release();
    this.#options.onEnd(this, { code, reason, error: this.#lastError });
  }

  #release(): void {
    this.#ended = true;
    clearTimeout(this.#connectTimer);
    this.#liveness?.stop();
  }
}
