// browser -> connect-route -> here -> register-connection: from the finished upgrade to a registered connection.
// Guarantees: listeners stand before anything is awaited; without a credential in time the socket is closed (4401);
// frames that come early wait for the registration, bounded in number and size; who connects too often is told so.
import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError, PetrelError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { isNestedDeeperThan } from "@petrel/shared/kernel/http/bodies/measure-nesting";
import { parseClientFrame } from "@petrel/shared/protocol/frames/client-frames";
import { closeCodes, type CloseCode } from "@petrel/shared/protocol/frames/close-codes";
import type { ErrorCode } from "@petrel/shared/protocol/error-codes";
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import { encodeServerFrame, type ErrorAction } from "@petrel/shared/protocol/frames/server-frames";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { LimitDecision } from "@petrel/shared/redis/limits/sliding-window-limiter";
import type { VerifiedToken, VerifyToken } from "@petrel/shared/security/tokens/verified-token";
import type { WebSocket } from "ws";
import { Connection } from "../connection/connection.js";
import { EarlyFrames } from "./early-frames.js";
import { failAuthentication } from "../connection/fail-authentication.js";
import type { HandleFrame } from "../frames/handle-frame.js";
import type { TakeFrame } from "../frames/limit-frames.js";
import type { Handshake } from "./read-handshake.js";
import { registerConnection, unregisterConnection, type RegisterDeps } from "./register-connection.js";
import { requireTimeLeft, watchTokenExpiry } from "../connection/watch-token-expiry.js";
import { routeTokenOf } from "../connection/route-token-of.js";

export interface OpenDeps extends RegisterDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly partitions: readonly PartitionKeys[];
  readonly verifyToken: VerifyToken;
  /** @returns undefined for a ticket that is unknown, over, or was used; what is asked of it is used up */
  readonly redeemTicket: (ticket: string) => Promise<VerifiedToken | undefined>;
  readonly handleFrame: HandleFrame;
  /** How many frames a user may send; asked here for control frames. */
  readonly takeFrame: TakeFrame;
  /** How often one user may connect. */
  readonly takeConnectOfUser: (userId: string) => LimitDecision | Promise<LimitDecision>;
  readonly authTimeoutMs: number;
  readonly onOpened: () => void;
  /** @param connection undefined where it had not become somebody's yet */
  readonly onClosed: (code: number, connection: Connection | undefined) => void;
}

/** Nothing that a client says is deeper than a level or two. */
const MAX_FRAME_DEPTH = 16;
const TOO_EARLY = "Too many frames before welcome.";
/** Normal closure, RFC 6455 section 7.4.1: a client that means to stay away. A page that is left sends 1001. */
const SIGNED_OUT = 1000;

/** @param onAuthenticated called once, when the socket is known to be somebody's, or is gone */
export function openConnection(
  deps: OpenDeps,
  ws: WebSocket,
  socket: Socket,
  handshake: Handshake,
  onAuthenticated: () => void,
): void {
  // The listeners below live as long as the socket: they must not hold the credential.
  const { credential, position, ackAuto } = handshake;
  /** Until it is registered. */
  let early: EarlyFrames | undefined = new EarlyFrames();
  let connection: Connection | undefined;
  let receiveFirst: ((text: string) => void) | undefined;
  let giveUpPlace: (() => void) | undefined = onAuthenticated;

  const settle = (): void => {
    const once = giveUpPlace;
    giveUpPlace = undefined;
    once?.();
  };
  const bare = { fail: failBare(ws) };
  const failFrame = (problem: string): void =>
    (connection ?? bare).fail(closeCodes.badFrame, "PETREL_BAD_FRAME", problem, "stop");

  ws.on("message", (data, isBinary) => {
    if (isBinary) {
      (connection ?? bare).fail(
        closeCodes.unsupportedData,
        "PETREL_BINARY_FRAME",
        "Frames are text.",
        "stop",
      );
      return;
    }
    const bytes = bytesOf(data);
    if (isNestedDeeperThan(bytes, MAX_FRAME_DEPTH)) {
      failFrame(`The frame is nested deeper than ${MAX_FRAME_DEPTH} levels.`);
      return;
    }
    const text = bytes.toString("utf8");
    if (connection !== undefined && connection.phase !== "registering") {
      connection.lastHeardMs = deps.clock.monotonicMs();
      deps.handleFrame(connection, text);
    } else if (early?.count() !== true) {
      failFrame(TOO_EARLY);
    } else if (receiveFirst !== undefined) {
      receiveFirst(text);
    } else if (!early.keep(text)) {
      failFrame(TOO_EARLY);
    }
  });
  // `ws` answers a ping by itself.
  const onControlFrame = (): void => {
    if (connection !== undefined && connection.phase !== "registering") {
      if (deps.takeFrame(connection)) connection.lastHeardMs = deps.clock.monotonicMs();
    } else if (early?.count() !== true) {
      failFrame(TOO_EARLY);
    }
  };
  ws.on("ping", onControlFrame);
  ws.on("pong", onControlFrame);
  // What ws finds wrong (size, UTF-8, framing) it answers with the right close code by itself.
  ws.on("error", (error) => deps.logger.debug({ reason: error.message }, "socket error"));
  ws.on("close", (code) => {
    settle();
    deps.onClosed(code, connection);
    if (connection === undefined) return;
    connection.phase = "closing";
    if (code === SIGNED_OUT) connection.isExpectedBack = false;
    void unregisterConnection(deps, connection);
  });

  /** @returns whether this node stops, and the client was sent elsewhere: the drain has listed its connections already */
  const sentElsewhere = (): boolean => {
    if (!deps.isDraining()) return false;
    ws.send(encodeServerFrame({ type: "reconnect", afterMs: 0, reason: "PETREL_SHUTTING_DOWN" }));
    ws.close(closeCodes.serviceRestart, "PETREL_SHUTTING_DOWN");
    return true;
  };
  const begin = async (authenticate: Authenticate): Promise<void> => {
    const token = await authenticate();
    settle();
    if (ws.readyState !== ws.OPEN || sentElsewhere()) return;
    const { userId, device } = token;
    const share = await deps.takeConnectOfUser(userId);
    if (ws.readyState !== ws.OPEN || sentElsewhere()) return;
    if (!share.allowed) {
      const seconds = Math.max(1, Math.ceil(Math.min(share.retryAfterMs, 60_000) / 1_000));
      bare.fail(
        closeCodes.tooMany,
        "PETREL_RATE_LIMITED",
        `This user connects too often: come back in ${seconds} s.`,
        "backoff",
      );
      return;
    }
    const keys = deps.partitions[partitionOfUser(userId, deps.partitions.length)];
    if (keys === undefined) throw new Error("partition out of range");
    connection = new Connection(
      {
        id: randomBytes(9).toString("base64url"),
        userId,
        keys,
        platform: device?.platform ?? "web",
        ackAuto,
        token: routeTokenOf(token),
      },
      ws,
      socket,
      deps.clock.monotonicMs(),
    );
    connection.tokenExpiresAtMs = token.expiresAtMs;
    try {
      await registerConnection(deps, connection, position);
    } catch (error) {
      deps.logger.warn({ reason: describeError(error) }, "connection not registered");
      connection.fail(closeCodes.tryAgainLater, "PETREL_UNAVAILABLE", "Not now: try again.", "resume");
      return;
    }
    if (connection.isOpen) deps.onOpened();
    // A short token's end may be near already: not only at the next round.
    watchTokenExpiry(connection, deps.clock.wallMs());
    const texts = early?.takeAll() ?? [];
    early = undefined;
    for (const text of texts) deps.handleFrame(connection, text);
  };
  const beginOrFail = (authenticate: Authenticate): void => {
    // Still counted as nobody's until the socket is gone.
    begin(authenticate).catch((error: unknown) => failAuthentication(connection ?? bare, error));
  };

  switch (credential.kind) {
    case "token":
      beginOrFail(byToken(deps, credential.token));
      return;
    case "ticket":
      // It is good once: not for a node that stops.
      if (!sentElsewhere()) beginOrFail(byTicket(deps, credential.ticket));
      return;
    case "awaited": {
      const timer = setTimeout(
        () => bare.fail(closeCodes.tokenBad, "PETREL_AUTH_TIMEOUT", "No credential came in time.", "refresh"),
        deps.authTimeoutMs,
      );
      ws.on("close", () => clearTimeout(timer));
      receiveFirst = (text) => {
        const token = readAuthFrame(text, ws, bare.fail);
        if (token === undefined) return;
        clearTimeout(timer);
        receiveFirst = undefined;
        beginOrFail(byToken(deps, token));
      };
    }
  }
}

type Authenticate = () => Promise<VerifiedToken>;

/** Apart from the listeners: what is made beside them lives as long as they do. */
function byToken({ verifyToken, clock }: OpenDeps, text: string): Authenticate {
  return async () => {
    const token = await verifyToken(text);
    requireTimeLeft(token, clock.wallMs());
    return token;
  };
}

/** What it returns throws PetrelError PETREL_TICKET_INVALID, and what the store throws where Redis does not answer. */
function byTicket({ redeemTicket, clock }: OpenDeps, ticket: string): Authenticate {
  return async () => {
    const token = await redeemTicket(ticket);
    if (token !== undefined && token.expiresAtMs > clock.wallMs()) return token;
    throw new PetrelError(
      "PETREL_TICKET_INVALID",
      "The ticket is unknown, over, or was used: get a fresh one.",
    );
  };
}

/** The token of the first frame; undefined where it was something else, which has been answered. */
function readAuthFrame(text: string, ws: WebSocket, fail: Connection["fail"]): string | undefined {
  const parsed = parseClientFrame(text);
  if (!parsed.ok) fail(closeCodes.badFrame, "PETREL_BAD_FRAME", parsed.problem, "stop");
  else if (parsed.frame.type === "auth") return parsed.frame.token;
  else if (parsed.frame.type === "ping") ws.send(encodeServerFrame({ type: "pong" }));
  else fail(closeCodes.tokenBad, "PETREL_UNAUTHENTICATED", "The first frame must be `auth`.", "refresh");
  return undefined;
}

/** Says why and closes, on a socket that is nobody's connection yet. */
function failBare(ws: WebSocket): Connection["fail"] {
  return (closeCode: CloseCode, code: ErrorCode, message: string, action: ErrorAction) => {
    if (ws.readyState !== ws.OPEN) return;
    ws.send(encodeServerFrame({ type: "error", code, message, action }));
    ws.close(closeCode, code);
  };
}

function bytesOf(data: Buffer | ArrayBuffer | Buffer[]): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}
