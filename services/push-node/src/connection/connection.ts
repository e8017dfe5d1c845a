// push-node: one client's socket and its position in its user's sequence.
// Guarantees: frames leave in the order they were queued, and nothing is written once a close has begun. Callers bound
// what waits for a slow reader: see `waitingBytes`.
import type { Socket } from "node:net";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { RouteToken } from "@petrel/shared/redis/routes/route-token";
import { closeCodes, type CloseCode } from "@petrel/shared/protocol/frames/close-codes";
import type { ErrorCode } from "@petrel/shared/protocol/error-codes";
import {
  encodeServerFrame,
  type ErrorAction,
  type ServerFrame,
} from "@petrel/shared/protocol/frames/server-frames";
import type { TopicGrant } from "@petrel/shared/protocol/topics/topic-grants";
import type { ConnectionWebSocket } from "./connection-web-socket.js";
import { encodeTextFrame } from "./encode-text-frame.js";
import type { KnownRecalls } from "./known-recalls.js";
import type { TopicSubscription } from "./subscription.js";

/**
 * registering: its user is known, its position in the sequence is not · catching-up: reads its inbox; arriving messages
 * only raise `targetSeq` · live: arriving messages are sent · closing: nothing is sent any more
 */
export type Phase = "registering" | "catching-up" | "live" | "closing";

export interface ConnectionIdentity {
  readonly id: string;
  readonly userId: string;
  readonly keys: PartitionKeys;
  readonly platform: string;
  readonly ackAuto: boolean;
  readonly token: RouteToken;
}

/** A fresh token from the client, from its arrival until the connection depends on it. */
export interface TokenRenewal {
  /** Set once it is verified. */
  token: RouteToken | undefined;
}

/** One connection's subscription to one topic. */
export type Subscription = TopicSubscription<Connection>;

export interface KeptChanges {
  /** Calls in progress that will answer with the whole set, as of some moment. */
  underWay: number;
  /** Changes since that moment: topic -> whether it is kept. */
  readonly byTopic: Map<string, boolean>;
}

/** A ping without data, RFC 6455 section 5.5.2. */
const PING_FRAME = Buffer.from([0x89, 0x00]);

export class Connection {
  readonly id: string;
  readonly userId: string;
  readonly keys: PartitionKeys;
  readonly platform: string;
  /** The client opted out of acknowledging: what its socket accepted counts as acked. */
  readonly ackAuto: boolean;

  phase: Phase = "registering";
  epoch = "";
  /** Its member in its user's routes; "" before it is registered. */
  member = "";
  connectTimeMs = 0;
  /** Its user's newer epoch, once known: the client is asked to move when its turn has come. */
  nextEpoch = "";
  /** Its client was asked to move. */
  isMoving = false;
  /** Another epoch that is known to be past: see check-epoch. */
  pastEpoch = "";
  /** An epoch that is being checked. */
  epochUnderCheck = "";
  /** Everything up to here was delivered or has ended; strictly increasing. */
  lastSent = 0;
  /** The newest seq whose message was really written to the socket, not skipped. */
  lastDelivered = 0;
  /** The highest seq the client acknowledged, here or before. */
  acked = 0;
  /** The newest seq known to be assigned; the target of a catch-up. */
  targetSeq = 0;
  /** The epoch of the envelope that raised `targetSeq` before this connection knew its own. */
  targetEpoch = "";
  /** There may be messages in the inbox beyond `targetSeq`: read it to its end. */
  readToEnd = false;
  /** Whether its client will probably reconnect soon after the socket is gone; false after a sign-out. */
  isExpectedBack = true;
  /** Registered as behind: what its user's other devices acknowledge is kept for it, see inbox/hold-history. */
  isHeld = false;
  /** A catch-up is in progress. */
  isReading = false;
  /** Which beat of the shared timers this connection belongs to. */
  slot = 0;
  /** A revocation of this token ends the connection. */
  token: RouteToken;
  tokenExpiresAtMs = Number.POSITIVE_INFINITY;
  expiryAnnounced = false;
  /** The newest token that is being checked. */
  renewal: TokenRenewal | undefined;
  /** It missed something and could not register again: it must, as soon as it can. */
  mustRegisterAgain = false;
  /** When the client last sent anything, monotonic ms. */
  lastHeardMs: number;
  /**
   * Its socket may hold bytes that the kernel has not accepted: set by each write that leaves some, cleared by the
   * watch.
   */
  mayWait = false;
  /** Since when the socket has accepted nothing although bytes wait, monotonic ms; undefined while it moves. */
  stuckSinceMs: number | undefined;
  lastMark = 0;
  /** Messages whose latency is measured until their acknowledgement, see measure-latency. */
  unmeasured: number[] | undefined;
  /** Until when the messages it was sent use up its pace, monotonic ms; at most the burst ahead of now. */
  pacedUntilMs = 0;

  /** Recalled messages; undefined if there were none. */
  recalls: KnownRecalls | undefined;

  /** The topic rights of its token; undefined: none. */
  grants: readonly TopicGrant[] | undefined;
  /** Its subscription to `$all`. */
  broadcast: Subscription | undefined;
  /** By topic; undefined if it has none. */
  subscriptions: Map<string, Subscription> | undefined;
  /** Changes of its user's kept topics that arrive while it registers. */
  keptChanges: KeptChanges | undefined;

  readonly #ws: ConnectionWebSocket;
  readonly #socket: Socket;
  #unsent: Buffer[] = [];

  constructor(identity: ConnectionIdentity, ws: ConnectionWebSocket, socket: Socket, nowMs: number) {
    this.id = identity.id;
    this.userId = identity.userId;
    this.keys = identity.keys;
    this.platform = identity.platform;
    this.ackAuto = identity.ackAuto;
    this.token = identity.token;
    this.#ws = ws;
    this.#socket = socket;
    this.lastHeardMs = nowMs;
  }

  get isOpen(): boolean {
    return this.phase !== "closing" && this.#ws.isOpen;
  }

  /** Bytes that the socket has not accepted yet; callers bound it before they queue more. */
  get waitingBytes(): number {
    return this.#socket.writableLength;
  }

  /**
   * Changes whenever the kernel accepts bytes. libuv's count of the current write changes with each piece of a large
   * write; Node's own counts change only when all of it is accepted.
   */
  get movementMark(): number {
    const { _handle: handle } = this.#socket as unknown as { _handle?: { writeQueueSize?: number } | null };
    return this.#socket.bytesWritten - this.#socket.writableLength - (handle?.writeQueueSize ?? 0);
  }

  /** Adds an encoded frame to what the next `flush` writes. */
  queue(frame: Buffer): void {
    this.#unsent.push(frame);
  }

  /**
   * Writes everything queued, in one write.
   * @param onTaken called when the kernel has accepted all of it
   */
  flush(onTaken?: () => void): void {
    const frames = this.#unsent;
    const [only] = frames;
    if (only === undefined) return;
    this.#unsent = [];
    if (!this.isOpen) return;
    const bytes = frames.length === 1 ? only : Buffer.concat(frames);
    if (onTaken === undefined) this.#socket.write(bytes);
    else this.#socket.write(bytes, (error) => error == null && onTaken());
    this.#noteWaiting();
  }

  /** Writes bytes that are also sent to other connections, bypassing the queue, which is empty between turns. */
  write(frames: Buffer): void {
    if (!this.isOpen) return;
    this.#socket.write(frames);
    this.#noteWaiting();
  }

  /** Sends one frame that is not a message. */
  send(frame: ServerFrame): void {
    this.queue(encodeTextFrame(encodeServerFrame(frame)));
    this.flush();
  }

  /** Whether `drained` would wait. */
  get mustDrain(): boolean {
    return this.#socket.writableNeedDrain && !this.#socket.destroyed;
  }

  /** Resolves when the socket has drained, or is gone. */
  async drained(): Promise<void> {
    if (!this.mustDrain) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#socket.off("drain", done);
        this.#socket.off("close", done);
        resolve();
      };
      this.#socket.on("drain", done);
      this.#socket.on("close", done);
    });
  }

  ping(): void {
    this.write(PING_FRAME);
  }

  /** Sends the reason in an `error` frame, then closes with the code. */
  fail(closeCode: CloseCode, code: ErrorCode, message: string, action: ErrorAction): void {
    if (this.phase === "closing") return;
    if (action === "stop") this.isExpectedBack = false;
    this.send({ type: "error", code, message, action });
    this.close(closeCode, code);
  }

  /** Asks the client to reconnect to another node, and closes. */
  reconnect(afterMs: number, code: ErrorCode): void {
    if (this.phase === "closing") return;
    this.send({ type: "reconnect", afterMs, reason: code });
    this.close(closeCodes.serviceRestart, code);
  }

  close(closeCode: CloseCode, reason: string): void {
    if (this.phase === "closing") return;
    this.phase = "closing";
    this.#ws.close(closeCode, reason);
    this.#noteWaiting();
  }

  /** Destroys the socket: the client would not receive a close frame. */
  terminate(): void {
    this.phase = "closing";
    this.#ws.terminate();
  }

  /** Marked on each write, so that the watch need not check the many sockets that have nothing waiting. */
  #noteWaiting(): void {
    if (this.#socket.writableLength > 0) this.mayWait = true;
  }
}
