// push-node/connect/connect-route -> here -> push-node/connect/register-connection, push-node/frames/handle-frame: one
// client, from the finished upgrade to the end of its socket.
// Guarantees: listeners are attached before anything is awaited. Without a credential in time the socket is closed
// (4401). Early frames wait for the registration, bounded in number and size. A user who connects too often is told so.
import type { Socket } from "node:net";
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import { isNestedDeeperThan } from "@petrel/shared/kernel/http/bodies/measure-nesting";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { ErrorCode } from "@petrel/shared/protocol/error-codes";
import { parseClientFrame } from "@petrel/shared/protocol/frames/client-frames";
import { closeCodes, type CloseCode } from "@petrel/shared/protocol/frames/close-codes";
import { encodeServerFrame, type ErrorAction } from "@petrel/shared/protocol/frames/server-frames";
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { VerifiedToken } from "@petrel/shared/security/tokens/verified-token";
import type { ConnectionWebSocket, SocketListener } from "../connection/connection-web-socket.js";
import { Connection } from "../connection/connection.js";
import { failAuthentication } from "../connection/fail-authentication.js";
import { routeTokenOf } from "../connection/route-token-of.js";
import { watchTokenExpiry } from "../connection/watch-token-expiry.js";
import type { HandleFrame } from "../frames/handle-frame.js";
import type { TakeFrame } from "../frames/limit-frames.js";
import type { CheckCredential, Credential } from "./check-credential.js";
import { EarlyFrames } from "./early-frames.js";
import { closeTooOften, type UserConnects } from "./limit-connects.js";
import type { Handshake } from "./read-handshake.js";
import type { RegisterConnections } from "./register-connection.js";

export interface OpenDeps {
  readonly checkCredential: CheckCredential;
  readonly authTimeoutMs: number;
  /** Limits how often one user may connect. */
  readonly userConnects: Pick<UserConnects, "refusalMs">;
  readonly partitions: readonly PartitionKeys[];
  readonly registrations: RegisterConnections;
  /** `take` limits the frames of a user; control frames are counted here. */
  readonly frames: { readonly handle: HandleFrame; readonly take: TakeFrame };
  readonly isDraining: () => boolean;
  readonly newId: () => string;
  readonly events: SocketEvents;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface SocketEvents {
  /** A connection was registered. */
  readonly opened: () => void;
  /** @param connection undefined if the socket was not authenticated yet */
  readonly closed: (code: number, connection: Connection | undefined) => void;
}

/**
 * awaiting-credential: the first frame must bring one · authenticating: it is being checked; frames wait · registering:
 * its user is known; frames wait until `welcome` · open: frames are handled · gone: the socket has ended
 */
type Stage = "awaiting-credential" | "authenticating" | "registering" | "open" | "gone";

/** Client frames are only a level or two deep. */
const MAX_FRAME_DEPTH = 16;
const TOO_EARLY = "Too many frames before welcome.";
/**
 * Normal closure, RFC 6455 section 7.4.1: a client that does not intend to return. A page that the user leaves sends
 * 1001.
 */
const SIGNED_OUT = 1000;

/** Lives as long as its socket, so it must not keep the credential. */
export class OpenConnection implements SocketListener {
  readonly #deps: OpenDeps;
  readonly #ws: ConnectionWebSocket;
  readonly #socket: Socket;
  #stage: Stage = "authenticating";
  #connection: Connection | undefined;
  /** Until it is open. */
  #early: EarlyFrames | undefined = new EarlyFrames();
  /** Until it is registered. */
  #wishes: Pick<Handshake, "position" | "ackAuto" | "broadcast" | "requestId"> | undefined;
  #authTimer: NodeJS.Timeout | undefined;
  #freeSlot: (() => void) | undefined;

  /** @param freeSlot called once, when the socket is authenticated or gone */
  constructor(
    deps: OpenDeps,
    ws: ConnectionWebSocket,
    socket: Socket,
    { position, ackAuto, broadcast, requestId }: Handshake,
    freeSlot: () => void,
  ) {
    this.#deps = deps;
    this.#ws = ws;
    this.#socket = socket;
    this.#wishes = { position, ackAuto, broadcast, requestId };
    this.#freeSlot = freeSlot;
    ws.listen(this);
  }

  /** Called once. */
  begin(credential: Handshake["credential"]): void {
    if (credential.kind === "awaited") {
      this.#enter("awaiting-credential");
      this.#authTimer = setTimeout(
        () =>
          this.fail(closeCodes.tokenBad, "PETREL_AUTH_TIMEOUT", "No credential arrived in time.", "refresh"),
        this.#deps.authTimeoutMs,
      );
      return;
    }
    // A ticket works only once, so a stopping node must not use it up.
    if (credential.kind === "ticket" && this.#isSentElsewhere()) return;
    this.#authenticate(credential);
  }

  onMessage(bytes: Buffer, isBinary: boolean): void {
    if (isBinary) {
      this.fail(closeCodes.unsupportedData, "PETREL_BINARY_FRAME", "Frames are text.", "stop");
      return;
    }
    if (isNestedDeeperThan(bytes, MAX_FRAME_DEPTH)) {
      this.#failFrame(`The frame is nested deeper than ${MAX_FRAME_DEPTH} levels.`);
      return;
    }
    const text = bytes.toString("utf8");
    const connection = this.#welcomed();
    if (connection !== undefined) {
      connection.lastHeardMs = this.#deps.clock.monotonicMs();
      this.#deps.frames.handle(connection, text);
    } else if (this.#early?.count() !== true) {
      this.#failFrame(TOO_EARLY);
    } else if (this.#stage === "awaiting-credential") {
      this.#readFirst(text);
    } else if (!this.#early.keep(text)) {
      this.#failFrame(TOO_EARLY);
    }
  }

  onControlFrame(): void {
    const connection = this.#welcomed();
    if (connection === undefined) {
      if (this.#early?.count() !== true) this.#failFrame(TOO_EARLY);
    } else if (this.#deps.frames.take(connection)) {
      connection.lastHeardMs = this.#deps.clock.monotonicMs();
    }
  }

  onError({ message }: Error): void {
    this.#deps.logger.debug({ reason: message }, "socket error");
  }

  onClose(code: number): void {
    this.#enter("gone");
    clearTimeout(this.#authTimer);
    this.#leaveSlot();
    const connection = this.#connection;
    this.#deps.events.closed(code, connection);
    if (connection === undefined) return;
    connection.phase = "closing";
    if (code === SIGNED_OUT) connection.isExpectedBack = false;
    void this.#deps.registrations.unregister(connection);
  }

  /** Sends the reason and closes, even if there is no connection yet. */
  fail(closeCode: CloseCode, code: ErrorCode, message: string, action: ErrorAction): void {
    if (this.#connection !== undefined) {
      this.#connection.fail(closeCode, code, message, action);
      return;
    }
    if (!this.#ws.isOpen) return;
    this.#ws.send(encodeServerFrame({ type: "error", code, message, action }));
    this.#ws.close(closeCode, code);
  }

  #failFrame(problem: string): void {
    this.fail(closeCodes.badFrame, "PETREL_BAD_FRAME", problem, "stop");
  }

  #enter(stage: Stage): void {
    if (this.#stage !== "gone") this.#stage = stage;
  }

  /** The connection, once its client was sent `welcome` or a close. */
  #welcomed(): Connection | undefined {
    return this.#connection?.phase === "registering" ? undefined : this.#connection;
  }

  #leaveSlot(): void {
    const freeSlot = this.#freeSlot;
    this.#freeSlot = undefined;
    freeSlot?.();
  }

  /**
   * The drain has already listed its connections and would miss a late one.
   * @returns whether this node is stopping, in which case the client was sent elsewhere
   */
  #isSentElsewhere(): boolean {
    if (!this.#deps.isDraining()) return false;
    this.#ws.send(encodeServerFrame({ type: "reconnect", afterMs: 0, reason: "PETREL_SHUTTING_DOWN" }));
    this.#ws.close(closeCodes.serviceRestart, "PETREL_SHUTTING_DOWN");
    return true;
  }

  /** The first frame of a client that connected without a credential. */
  #readFirst(text: string): void {
    const parsed = parseClientFrame(text);
    if (!parsed.ok) this.#failFrame(parsed.problem);
    else if (parsed.frame.type === "auth") {
      clearTimeout(this.#authTimer);
      this.#authenticate({ kind: "token", token: parsed.frame.token });
    } else if (parsed.frame.type === "ping") this.#ws.send(encodeServerFrame({ type: "pong" }));
    else
      this.fail(closeCodes.tokenBad, "PETREL_UNAUTHENTICATED", "The first frame must be `auth`.", "refresh");
  }

  #authenticate(credential: Credential): void {
    this.#enter("authenticating");
    // A socket whose credential failed counts as unauthenticated until it is gone.
    this.#open(this.#deps.checkCredential(credential, this.#wishes?.requestId)).catch((error: unknown) =>
      failAuthentication(this, error),
    );
  }

  /** @param checked rejects if the credential is invalid */
  async #open(checked: Promise<VerifiedToken>): Promise<void> {
    const { userConnects, registrations, frames, events, clock, logger } = this.#deps;
    const token = await checked;
    this.#leaveSlot();
    if (!this.#ws.isOpen || this.#isSentElsewhere()) return;
    const refusalMs = userConnects.refusalMs(token.userId);
    if (refusalMs !== undefined) {
      closeTooOften(this, refusalMs);
      return;
    }
    const { position, broadcast } = this.#wishes ?? {};
    const connection = this.#become(token);
    try {
      await registrations.register(connection, position, broadcast);
    } catch (error) {
      logger.warn({ reason: describeError(error) }, "connection not registered");
      connection.fail(closeCodes.tryAgainLater, "PETREL_UNAVAILABLE", "Not now: try again.", "resume");
      return;
    }
    if (connection.isOpen) events.opened();
    // A short-lived token may expire before the next round of the watch.
    watchTokenExpiry(connection, clock.wallMs());
    this.#enter("open");
    const texts = this.#early?.takeAll() ?? [];
    this.#early = undefined;
    for (const text of texts) frames.handle(connection, text);
  }

  /** Its user is known: from here on it is that user's connection. */
  #become(token: VerifiedToken): Connection {
    const { partitions, clock } = this.#deps;
    const { userId, device } = token;
    const keys = partitions[partitionOfUser(userId, partitions.length)];
    if (keys === undefined) throw new Error("partition out of range");
    const connection = new Connection(
      {
        id: this.#deps.newId(),
        userId,
        keys,
        platform: device?.platform ?? "web",
        ackAuto: this.#wishes?.ackAuto ?? false,
        token: routeTokenOf(token),
      },
      this.#ws,
      this.#socket,
      clock.monotonicMs(),
    );
    connection.tokenExpiresAtMs = token.expiresAtMs;
    connection.grants = token.topics;
    this.#wishes = undefined;
    this.#connection = connection;
    this.#enter("registering");
    return connection;
  }
}
