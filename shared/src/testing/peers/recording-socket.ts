// Tests only: a WebSocket for the client library that records what goes over it.
// Guarantees: behaves like the one of `ws`; every message frame and every ack is recorded, in order, at the time it is
// read.
import { WebSocket } from "ws";
import type { ConnectionRecord, MessageRecorder } from "./message-recorder.js";

export type RecordingSocketConstructor = new (url: string, protocols: string[]) => WebSocket;

/**
 * A device's hold on its sockets: a phone in a lift reads nothing for a while, and its sockets stay open; one that
 * changes its network loses them.
 */
export class ReadingGate {
  readonly #open = new Set<WebSocket>();
  #isShut = false;

  watch(socket: WebSocket): void {
    this.#open.add(socket);
    socket.on("close", () => this.#open.delete(socket));
    socket.on("open", () => {
      if (this.#isShut) socket.pause();
    });
  }

  shut(): void {
    this.#isShut = true;
    for (const socket of this.#open) socket.pause();
  }

  /** Ends its sockets without a word to the server. */
  cut(): void {
    for (const socket of this.#open) socket.terminate();
  }

  open(): void {
    this.#isShut = false;
    for (const socket of this.#open) socket.resume();
  }
}

/**
 * @param client a name for the one client that will use it, the same over all its connections
 * @param gate stops its reading
 */
export function createRecordingSocket(
  recorder: MessageRecorder,
  client: string,
  gate?: ReadingGate,
): RecordingSocketConstructor {
  return class RecordingSocket extends WebSocket {
    readonly #openedAtMs = performance.now();
    #connection: ConnectionRecord | undefined;

    constructor(url: string, protocols: string[]) {
      super(url, protocols);
      gate?.watch(this);
      // Before any listener of the client: what it does with a frame is recorded after the frame.
      this.on("message", (bytes: Buffer) => this.#received(bytes.toString("utf8")));
      this.on("close", (code: number) => {
        if (this.#connection !== undefined) recorder.closed(this.#connection, code);
      });
    }

    // The client passes texts, without options.
    override send(data: string): void {
      const frame = JSON.parse(data) as Readonly<Record<string, unknown>> & { readonly seq?: number };
      if (frame["type"] === "ack" && frame.seq !== undefined && this.#connection !== undefined) {
        recorder.acked(this.#connection, frame.seq);
      }
      if (this.#connection !== undefined) recorder.topics.sent(this.#connection, frame);
      super.send(data);
    }

    #received(text: string): void {
      const frame = JSON.parse(text) as Readonly<Record<string, unknown>>;
      if (frame["topic"] !== undefined && this.#connection !== undefined) {
        recorder.topics.received(this.#connection, frame);
      } else if (frame["type"] === "message" && this.#connection !== undefined) {
        recorder.sentOnWire(this.#connection, Number(frame["seq"]), String(frame["id"]));
      } else if (frame["type"] === "reconnect" && this.#connection !== undefined) {
        recorder.askedToMove(this.#connection, String(frame["reason"]));
      } else if (frame["type"] === "welcome") {
        this.#connection = recorder.welcomed({
          id: String(frame["connection"]),
          client,
          user: String(frame["user"]),
          node: String(frame["node"]),
          epoch: String(frame["epoch"]),
          after: Number(frame["after"]),
          resumed: frame["resumed"] === true,
          openedAtMs: this.#openedAtMs,
        });
      }
    }
  };
}
