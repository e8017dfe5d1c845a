// One socket's life: open, credential, welcome, frames, liveness, end.
// Guarantees: `onEnd` is called exactly once, even if the socket's own close event comes late or never.
import { ABNORMAL_CLOSURE, CLIENT_LEAVES_SOCKET } from "./close-policy.js";
import { describeFailure } from "../client-error.js";
import {
  parseServerFrame,
  type ClientFrame,
  type ErrorFrame,
  type ServerFrame,
  type TopicPosition,
  type WelcomeFrame,
} from "../frames.js";
import { Liveness } from "./liveness.js";
import { SOCKET_CLOSED, SOCKET_OPEN, type Socket, type SocketConstructor } from "./socket.js";

export interface ConnectionEnd {
  /** The close event's code, or 1006 if the client gave up on the socket. */
  readonly code: number;
  readonly reason: string;
  /** The `error` frame, if it was the last frame from the server. */
  readonly error: ErrorFrame | undefined;
}

export interface ConnectionOptions {
  readonly WebSocket: SocketConstructor;
  /** With its query. */
  readonly url: string;
  /** The broadcast's position in that query. */
  readonly broadcast: TopicPosition | undefined;
  readonly protocols: string[];
  /** Sent as soon as the socket is open, if the credential is not part of the handshake. */
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
  /** The welcome's epoch; empty before the welcome. */
  epoch = "";
  /** The highest number this socket has carried. Acknowledging a higher one is a protocol error. */
  highestSeq = 0;
  lastAckedSeq = 0;
  /** How long an ack may linger here for others to join it. */
  ackWithinMs = 0;
  /** The position from which the broadcast was requested. */
  readonly broadcast: TopicPosition | undefined;

  readonly #options: ConnectionOptions;
  readonly #socket: Socket;
  readonly #connectTimer: ReturnType<typeof setTimeout>;
  #liveness: Liveness | undefined;
  #lastError: ErrorFrame | undefined;
  #socketProblem = "";
  #ended = false;

  /** @throws whatever the WebSocket constructor throws, such as a SyntaxError for a malformed token */
  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.broadcast = options.broadcast;
    this.#socket = new options.WebSocket(options.url, options.protocols);
    this.#connectTimer = setTimeout(
      () => this.abandon(`no welcome within ${options.connectTimeoutMs} ms`),
      options.connectTimeoutMs,
    );
    this.#socket.addEventListener("open", () => {
      if (options.firstFrame !== undefined) this.send(options.firstFrame);
    });
    this.#socket.addEventListener("message", ({ data }) => this.#receive(data));
    // Never removed: without a listener `ws` throws its errors, even for a socket the client is leaving.
    this.#socket.addEventListener("error", ({ message }) => {
      // The cause, such as ECONNREFUSED. The close event that follows only says 1006.
      this.#socketProblem = message ?? "";
    });
    this.#socket.addEventListener("close", ({ code = ABNORMAL_CLOSURE, reason = "" }) =>
      this.#end(code, reason === "" ? this.#socketProblem : reason),
    );
  }

  /** @returns whether the socket took it; a frame it did not take is not sent later */
  send(frame: ClientFrame): boolean {
    if (this.#ended || this.#socket.readyState !== SOCKET_OPEN) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** Asks for a sign of life now, and gives up on the socket if none comes within `withinMs`. */
  probe(withinMs: number): void {
    this.#liveness?.probe(withinMs);
  }

  /**
   * Sends a close frame and waits for the server's, at most `graceMs`.
   * `onEnd` is not called after this.
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

  /** Gives up on the socket at once: it is silent, or never answered. */
  abandon(reason: string): void {
    if (this.#ended) return;
    // A dead socket's close event can take minutes, so do not wait for it.
    this.#end(ABNORMAL_CLOSURE, reason);
    if (this.#socket.terminate !== undefined) this.#socket.terminate();
    else this.#closeSocket(CLIENT_LEAVES_SOCKET, reason);
  }

  /** If the socket refuses the reason, it must still close: otherwise the user would stay online. */
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
    // An error that answers one frame says nothing about the connection.
    const isAnswer = frame.type === "error" && (frame.ref !== undefined || frame.on !== undefined);
    this.#lastError = frame.type === "error" && !isAnswer ? frame : undefined;
    if (frame.type === "welcome") {
      if (this.epoch === "") this.#welcomed(frame);
      return;
    }
    // Before the welcome, only an error has a meaning.
    if (this.epoch !== "" || frame.type === "error") this.#options.onFrame(this, frame);
  }

  #welcomed(welcome: WelcomeFrame): void {
    clearTimeout(this.#connectTimer);
    this.epoch = welcome.epoch;
    this.highestSeq = welcome.after;
    this.lastAckedSeq = welcome.after;
    this.ackWithinMs = welcome.ackWithinMs;
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
