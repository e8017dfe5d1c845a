// Tests only: a plain WebSocket client of a push node that remembers everything it was sent.
// Guarantees: frames are kept in order of arrival; it acknowledges only what it is told to.
import { WebSocket } from "ws";
import { waitFor } from "../wait-for.js";

export type Frame = Readonly<Record<string, unknown>> & { readonly type: string };

export interface MessageFrame extends Frame {
  readonly type: "message";
  readonly id: string;
  readonly seq: number;
  readonly at: string;
  readonly data: unknown;
}

/** A message of a topic. */
export interface TopicMessageFrame extends Frame {
  readonly type: "message";
  readonly id: string;
  readonly topic: string;
  readonly offset: number;
  readonly at: string;
  readonly from?: string;
  readonly data: unknown;
}

export interface WsClientOptions {
  /** Up to /v1/connect. */
  readonly url: string;
  /** Sent as a subprotocol; without one the first frame must carry it. */
  readonly token?: string;
  /** Such as `epoch=…&since=3`. */
  readonly query?: string;
  /** "each": acknowledge every message as it comes · "turn": the newest, once a turn · "none" */
  readonly ack?: "each" | "turn" | "none";
  readonly headers?: Readonly<Record<string, string>>;
  readonly subprotocols?: readonly string[];
}

export interface WsClient {
  readonly socket: WebSocket;
  readonly frames: readonly Frame[];
  /** Of the user's own sequence. */
  readonly messages: readonly MessageFrame[];
  readonly topicMessages: readonly TopicMessageFrame[];
  /** Set once it is closed. */
  readonly closed: () => { readonly code: number; readonly reason: string } | undefined;
  readonly send: (frame: unknown) => void;
  readonly sendText: (text: string) => void;
  readonly ack: (seq: number) => void;
  /** Resolves with the first frame of a type. */
  readonly frame: (type: string, deadlineMs?: number) => Promise<Frame>;
  readonly untilMessages: (count: number, deadlineMs?: number) => Promise<readonly MessageFrame[]>;
  readonly untilClosed: (deadlineMs?: number) => Promise<{ readonly code: number; readonly reason: string }>;
  readonly close: () => void;
}

/** Opens the socket; does not wait for `welcome`. */
export function openClient(options: WsClientOptions): WsClient {
  const { token, query, ack = "none", headers = {} } = options;
  const protocols = options.subprotocols ?? (token === undefined ? [] : ["petrel.v1", `bearer.${token}`]);
  const socket = new WebSocket(options.url + (query === undefined ? "" : `?${query}`), [...protocols], {
    headers,
  });
  const frames: Frame[] = [];
  const messages: MessageFrame[] = [];
  const topicMessages: TopicMessageFrame[] = [];
  let closed: { code: number; reason: string } | undefined;
  let ackWaits = false;
  const send = (frame: unknown): void => socket.send(JSON.stringify(frame));
  const ackNewest = (): void => {
    ackWaits = false;
    const newest = messages.at(-1);
    if (newest !== undefined && socket.readyState === WebSocket.OPEN) send({ type: "ack", seq: newest.seq });
  };
  socket.on("message", (data: Buffer) => {
    const frame = JSON.parse(data.toString("utf8")) as Frame;
    frames.push(frame);
    if (frame.type !== "message") return;
    if ("topic" in frame) {
      topicMessages.push(frame as TopicMessageFrame);
      return;
    }
    messages.push(frame as MessageFrame);
    if (ack === "each") ackNewest();
    else if (ack === "turn" && !ackWaits) {
      ackWaits = true;
      setImmediate(ackNewest);
    }
  });
  socket.on("close", (code, reason) => (closed = { code, reason: reason.toString("utf8") }));
  // A refused handshake shows as a close too; the error says why.
  socket.on("error", (error) => {
    closed ??= { code: 1006, reason: error.message };
  });
  /** With how it is now, which says why nothing has come. */
  const fail = (error: unknown): never => {
    const came = `${frames.length} frames, ${messages.length} messages`;
    throw new Error(`${String(error)}; ${came} came, closed: ${JSON.stringify(closed)}`, { cause: error });
  };
  return {
    socket,
    frames,
    messages,
    topicMessages,
    closed: () => closed,
    send,
    sendText: (text) => socket.send(text),
    ack: (seq) => send({ type: "ack", seq }),
    frame: (type, deadlineMs = 30_000) =>
      waitFor(() => frames.find((frame) => frame.type === type), {
        what: `a frame of type ${type}`,
        deadlineMs,
        everyMs: 5,
      }).catch(fail),
    untilMessages: async (count, deadlineMs = 30_000) => {
      await waitFor(() => messages.length >= count, {
        what: `${count} messages`,
        deadlineMs,
        everyMs: 5,
      }).catch(fail);
      return messages;
    },
    untilClosed: (deadlineMs = 30_000) =>
      waitFor(() => closed, { what: "the close", deadlineMs, everyMs: 5 }),
    close: () => socket.close(),
  };
}

/** Opens the socket and waits until it is welcome. */
export async function connectClient(options: WsClientOptions): Promise<WsClient> {
  const client = openClient(options);
  await client.frame("welcome");
  return client;
}
