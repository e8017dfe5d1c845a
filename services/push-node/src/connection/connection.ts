// push-node: one client's socket and its position in its user's sequence.
// Guarantees: frames leave in the order they were queued; nothing is written once a close has begun. Callers bound what
// waits for a slow reader: see `waitingBytes`.
import type { Socket } from "node:net";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { RouteToken } from "@petrel/shared/redis/nodes/route-store";
import { closeCodes, type CloseCode } from "@petrel/shared/protocol/frames/close-codes";
import type { ErrorCode } from "@petrel/shared/protocol/error-codes";
import {
  encodeServerFrame,
  type ErrorAction,
  type ServerFrame,
} from "@petrel/shared/protocol/frames/server-frames";
import type { TopicGrant } from "@petrel/shared/protocol/topics/topic-grants";
import type { WebSocket } from "ws";
import { encodeTextFrame } from "./encode-text-frame.js";
import type { KnownRecalls } from "./known-recalls.js";
import type { TopicSubscription } from "./subscription.js";

/**
 * registering: its user is known, its position in the sequence is not · catching-up: reads its inbox; what arrives only
 * raises `targetSeq` · live: what arrives goes out · closing: nothing goes out any more
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

/** A fresh token that a client has brought, from its arrival until the connection lives under it. */
export interface TokenRenewal {
  /** Once it is verified. */
  token: RouteToken | undefined;
}

/** One connection's part in one topic. */
export type Subscription = TopicSubscription<Connection>;

export interface KeptChanges {
  /** Calls that will answer with the whole set, as it was at some moment. */
  underWay: number;
  /** What is newer than that: topic -> whether it is kept. */
  readonly byTopic: Map<string, boolean>;
}

/** A ping without data, RFC 6455 section 5.5.2. One write: `ws` makes its frames anew, in two pieces. */
const PING_FRAME = Buffer.from([0x89, 0x00]);

export class Connection {
  readonly id: string;
  readonly userId: string;
  readonly keys: PartitionKeys;
  readonly platform: string;
  /** The client waived acknowledging: what its socket took counts as acked. */
  readonly ackAuto: boolean;

  phase: Phase = "registering";
  epoch = "";
  /** Its member among its user's routes; "" before it is registered. */
  member = "";
  connectTimeMs = 0;
  /** Its user's newer epoch, once known: the client is asked to move when its turn has come. */
  nextEpoch = "";
  /** Its client was asked to move. */
  isMoving = false;
  /** Another epoch, known to be over: see check-epoch. */
  pastEpoch = "";
  /** An epoch that is being asked about. */
  epochUnderCheck = "";
  /** Everything up to here was delivered or has ended; strictly increasing. */
  lastSent = 0;
  /** The newest seq whose message was really put on the socket, not skipped. */
  lastDelivered = 0;
  /** The highest seq the client acknowledged, here or before. */
  acked = 0;
  /** The newest seq known to be assigned: the one to catch up with. */
  targetSeq = 0;
  /** The epoch of the envelope that raised `targetSeq` before this connection knew its own. */
  targetEpoch = "";
  /** Something may be in the inbox beyond `targetSeq`: read it to its end. */
  readToEnd = false;
  /** Whether its client is likely to come back soon once its socket is gone; false after a sign-out. */
  isExpectedBack = true;
  /** Noted as behind: what its user's other devices acknowledge is kept for it, see inbox/hold-history. */
  isHeld = false;
  /** A catch-up is under way. */
  isReading = false;
  /** Which beat of the shared timers this connection belongs to. */
  slot = 0;
  /** Its revocation ends the connection. */
  token: RouteToken;
  tokenExpiresAtMs = Number.POSITIVE_INFINITY;
  expiryAnnounced = false;
  /** The newest token that is being checked. */
  renewal: TokenRenewal | undefined;
  /** Something was missed while it could not register again: it must, as soon as it can. */
  mustRegisterAgain = false;
  /** When anything last came from the client, monotonic ms. */
  lastHeardMs: number;
  /** Its socket may hold bytes that the kernel has not taken: set by each write that leaves some, cleared by the watch. */
  mayWait = false;
  /** Since when the socket has taken nothing although bytes wait, monotonic ms; undefined while it moves. */
  stuckSinceMs: number | undefined;
  lastMark = 0;
  /** What waits for an acknowledgement to be measured, see measure-latency. */
  unmeasured: number[] | undefined;
  /** What it was sent is paid for until then, monotonic ms; at most the pace's burst ahead of now. */
  pacedUntilMs = 0;

  /** Of messages that were taken back; undefined where there were none. */
  recalls: KnownRecalls | undefined;

  /** What its token allows with topics; undefined: nothing. */
  grants: readonly TopicGrant[] | undefined;
  /** Of `$all`. */
  broadcast: Subscription | undefined;
  /** By topic; undefined where it has none. */
  subscriptions: Map<string, Subscription> | undefined;
  /** Changes of its user's kept topics that came while it registers. */
  keptChanges: KeptChanges | undefined;

  readonly #ws: WebSocket;
  readonly #socket: Socket;
  #unsent: Buffer[] = [];

  constructor(identity: ConnectionIdentity, ws: WebSocket, socket: Socket, nowMs: number) {
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
    return this.phase !== "closing" && this.#ws.readyState === this.#ws.OPEN;
  }

  /** Bytes that the socket has not taken yet: what a caller bounds before it queues more. */
  get waitingBytes(): number {
    return this.#socket.writableLength;
  }

  /**
   * Changes whenever the kernel takes bytes. libuv's count of the current write moves as a large one is taken piece by
   * piece; Node's own counts move only when all of it is taken.
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
   * Writes what was queued, in one write.
   * @param onTaken called when the kernel has all of it
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

  /** Writes bytes that other connections are sent too, past the queue, which is empty between turns. */
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

  /** Says why in an `error` frame, then closes with the code. */
  fail(closeCode: CloseCode, code: ErrorCode, message: string, action: ErrorAction): void {
    if (this.phase === "closing") return;
    if (action === "stop") this.isExpectedBack = false;
    this.send({ type: "error", code, message, action });
    this.close(closeCode, code);
  }

  /** Asks the client to reconnect, to another node, and closes. */
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

  /** Cuts the connection: nobody is left to take a close frame. */
  terminate(): void {
    this.phase = "closing";
    this.#ws.terminate();
  }

  /** While the socket is at hand: the watch need not look at the sockets of the many that wait for nothing. */
  #noteWaiting(): void {
    if (this.#socket.writableLength > 0) this.mayWait = true;
  }
}
