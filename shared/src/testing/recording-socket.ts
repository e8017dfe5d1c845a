// Tests only: a WebSocket for the client library, which writes down what goes over it.
// Guarantees: behaves as the one of `ws`; every message frame and every ack is recorded, in their order.
import { WebSocket } from "ws";
import type { ConnectionRecord, MessageRecorder } from "./message-recorder.js";

export type RecordingSocketConstructor = new (url: string, protocols: string[]) => WebSocket;

/** @param client a name for the one client that will use it, the same over all its connections */
export function createRecordingSocket(recorder: MessageRecorder, client: string): RecordingSocketConstructor {
  return class RecordingSocket extends WebSocket {
    #connection: ConnectionRecord | undefined;

    constructor(url: string, protocols: string[]) {
      super(url, protocols);
      // Before any listener of the client: what it does with a frame is recorded after the frame.
      this.on("message", (bytes: Buffer) => this.#received(bytes.toString("utf8")));
      this.on("close", (code: number) => {
        if (this.#connection !== undefined) recorder.closed(this.#connection, code);
      });
    }

    // The client gives it texts, without options.
    override send(data: string): void {
      const frame = JSON.parse(data) as { readonly type: string; readonly seq?: number };
      if (frame.type === "ack" && frame.seq !== undefined && this.#connection !== undefined) {
        recorder.acked(this.#connection, frame.seq);
      }
      super.send(data);
    }

    #received(text: string): void {
      const frame = JSON.parse(text) as Readonly<Record<string, unknown>>;
      if (frame["type"] === "message" && this.#connection !== undefined) {
        recorder.sentOnWire(this.#connection, Number(frame["seq"]), String(frame["id"]));
      } else if (frame["type"] === "welcome") {
        this.#connection = recorder.welcomed({
          id: String(frame["connection"]),
          client,
          user: String(frame["user"]),
          node: String(frame["node"]),
          epoch: String(frame["epoch"]),
          after: Number(frame["after"]),
          resumed: frame["resumed"] === true,
        });
      }
    }
  };
}
