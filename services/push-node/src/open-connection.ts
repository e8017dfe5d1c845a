// browser -> connect-route -> here -> register-connection: from the finished upgrade to a registered connection.
// Guarantees: listeners stand before anything is awaited; without a credential in time the socket is closed (4401);
// frames that come early wait for the registration, a bounded number of them.
import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging";
import { parseClientFrame } from "@petrel/shared/protocol/client-frames";
import { closeCodes, type CloseCode } from "@petrel/shared/protocol/close-codes";
import type { ErrorCode } from "@petrel/shared/protocol/error-codes";
import { partitionOfUser } from "@petrel/shared/protocol/partition";
import { encodeServerFrame, type ErrorAction } from "@petrel/shared/protocol/server-frames";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { VerifyToken } from "@petrel/shared/security/verified-token";
import type { WebSocket } from "ws";
import { Connection } from "./connection.js";
import { failAuthentication, type HandleFrame } from "./handle-frame.js";
import type { Handshake } from "./read-handshake.js";
import { registerConnection, unregisterConnection, type RegisterDeps } from "./register-connection.js";

export interface OpenDeps extends RegisterDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly partitions: readonly PartitionKeys[];
  readonly verifyToken: VerifyToken;
  readonly handleFrame: HandleFrame;
  readonly authTimeoutMs: number;
  readonly onOpened: () => void;
  readonly onClosed: (code: number) => void;
}

const MAX_EARLY_FRAMES = 16;
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
  const early: string[] = [];
  let connection: Connection | undefined;
  let receiveFirst: ((text: string) => void) | undefined;
  let settled = false;

  const settle = (): void => {
    if (settled) return;
    settled = true;
    onAuthenticated();
  };
  const bare = { fail: failBare(ws) };

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
    const text = textOf(data);
    if (connection !== undefined && connection.phase !== "registering") {
      connection.lastHeardMs = deps.clock.monotonicMs();
      deps.handleFrame(connection, text);
    } else if (receiveFirst !== undefined) {
      receiveFirst(text);
    } else if (early.length < MAX_EARLY_FRAMES) {
      early.push(text);
    } else {
      (connection ?? bare).fail(
        closeCodes.badFrame,
        "PETREL_BAD_FRAME",
        "Too many frames before welcome.",
        "stop",
      );
    }
  });
  ws.on("pong", () => {
    if (connection !== undefined) connection.lastHeardMs = deps.clock.monotonicMs();
  });
  // What ws finds wrong (size, UTF-8, framing) it answers with the right close code by itself.
  ws.on("error", (error) => deps.logger.debug({ reason: error.message }, "socket error"));
  ws.on("close", (code) => {
    settle();
    deps.onClosed(code);
    if (connection === undefined) return;
    connection.phase = "closing";
    if (code === SIGNED_OUT) connection.isExpectedBack = false;
    void unregisterConnection(deps, connection);
  });

  const begin = async (token: string): Promise<void> => {
    const { userId, device, expiresAtMs } = await deps.verifyToken(token);
    settle();
    if (ws.readyState !== ws.OPEN) return;
    if (deps.isDraining()) {
      // The drain has listed its connections already.
      const afterMs = 0;
      ws.send(encodeServerFrame({ type: "reconnect", afterMs, reason: "PETREL_SHUTTING_DOWN" }));
      ws.close(closeCodes.serviceRestart, "PETREL_SHUTTING_DOWN");
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
      },
      ws,
      socket,
      deps.clock.monotonicMs(),
    );
    connection.tokenExpiresAtMs = expiresAtMs;
    try {
      await registerConnection(deps, connection, position);
    } catch (error) {
      deps.logger.warn({ reason: describeError(error) }, "connection not registered");
      connection.fail(closeCodes.tryAgainLater, "PETREL_UNAVAILABLE", "Not now: try again.", "resume");
      return;
    }
    if (connection.isOpen) deps.onOpened();
    for (const text of early.splice(0)) deps.handleFrame(connection, text);
  };
  const beginOrFail = (token: string): void => {
    // Still counted as nobody's until the socket is gone.
    begin(token).catch((error: unknown) => failAuthentication(connection ?? bare, error));
  };

  switch (credential.kind) {
    case "token":
      beginOrFail(credential.token);
      return;
    case "ticket":
      bare.fail(closeCodes.tokenBad, "PETREL_NOT_IMPLEMENTED", "Tickets are not built yet.", "stop");
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
        beginOrFail(token);
      };
    }
  }
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

function textOf(data: Buffer | ArrayBuffer | Buffer[]): string {
  if (Buffer.isBuffer(data)) return data.toString("utf8");
  return Array.isArray(data) ? Buffer.concat(data).toString("utf8") : Buffer.from(data).toString("utf8");
}
