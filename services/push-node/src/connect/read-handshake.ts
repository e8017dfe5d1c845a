// push-node/connect/connect-route -> here: what an upgrade request asks for.
// Guarantees: refuses only what the contract refuses before the upgrade (400, 403). A bad credential passes, because
// browsers cannot read a refused handshake.
import type { IncomingHttpHeaders } from "node:http";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { givenRequestId } from "@petrel/shared/kernel/http/requests/request-ids";
import type { MatchOrigin } from "@petrel/shared/security/requests/match-origin";
import { listElements } from "./check-upgrade.js";

export const SUBPROTOCOL = "petrel.v1";
const BEARER_ENTRY = "bearer.";

/** Where a client says it stopped reading. */
export interface ResumePosition {
  readonly epoch: string;
  readonly since: number;
}

export interface BroadcastPosition {
  readonly epoch: string;
  readonly offset: number;
}

export interface Handshake {
  readonly credential:
    | { readonly kind: "token"; readonly token: string }
    | { readonly kind: "ticket"; readonly ticket: string }
    /** It comes as the first frame. */
    | { readonly kind: "awaited" };
  /** As offered, in the client's order. */
  readonly protocols: readonly string[];
  readonly position: ResumePosition | undefined;
  readonly ackAuto: boolean;
  /** Where it stopped reading `$all`. */
  readonly broadcast: BroadcastPosition | undefined;
  /** The request's own id, if it has one. */
  readonly requestId: string | undefined;
}

export interface HandshakeRules {
  readonly isAllowedOrigin: MatchOrigin;
  readonly tokenInQuery: boolean;
}

/**
 * @param query the decoded query of the request's target
 * @throws PetrelError PETREL_ORIGIN_REFUSED (403), PETREL_INVALID_REQUEST (400)
 */
export function readHandshake(
  headers: IncomingHttpHeaders,
  query: URLSearchParams,
  rules: HandshakeRules,
): Handshake {
  checkOrigin(headers, rules.isAllowedOrigin);
  const offered = offeredProtocols(headers["sec-websocket-protocol"]);
  if (offered.length > 0 && !offered.includes(SUBPROTOCOL)) {
    throw new PetrelError(
      "PETREL_INVALID_REQUEST",
      `The subprotocols offered do not include ${SUBPROTOCOL}.`,
    );
  }
  return {
    protocols: offered,
    credential: readCredential(headers.authorization, offered, query, rules.tokenInQuery),
    position: readPosition(readOnce(query, "epoch"), readOnce(query, "since")),
    ackAuto: readAck(readOnce(query, "ack")),
    broadcast: readBroadcast(readOnce(query, "all")),
    requestId: givenRequestId(headers),
  };
}

/** A token of RFC 9110 section 5.6.2. */
const protocolName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/**
 * The subprotocols that a client offers, in its order: tokens, each once (RFC 6455 section 4.1).
 * @throws PetrelError PETREL_INVALID_REQUEST for what is no such list
 */
function offeredProtocols(header: string | undefined): string[] {
  if (header === undefined) return [];
  const offered = listElements(header);
  const areNames = offered.length > 0 && offered.every((entry) => protocolName.test(entry));
  if (!areNames || new Set(offered).size < offered.length) {
    throw new PetrelError(
      "PETREL_INVALID_REQUEST",
      "Sec-WebSocket-Protocol is not a list of different names.",
    );
  }
  return offered;
}

/** A page's origin must be listed; most programs send none. `null` may be any sandboxed page. */
function checkOrigin({ origin, host }: IncomingHttpHeaders, isAllowed: MatchOrigin): void {
  if (origin === undefined || isAllowed(origin, host)) return;
  throw new PetrelError("PETREL_ORIGIN_REFUSED", "This page's origin may not connect here.");
}

function readCredential(
  authorization: string | undefined,
  offered: readonly string[],
  query: URLSearchParams,
  tokenInQuery: boolean,
): Handshake["credential"] {
  const found: Handshake["credential"][] = [];
  for (const entry of offered) {
    if (entry.startsWith(BEARER_ENTRY))
      found.push({ kind: "token", token: entry.slice(BEARER_ENTRY.length) });
  }
  if (authorization !== undefined) {
    const match = /^Bearer +(\S+)$/i.exec(authorization);
    // Another scheme or form is a bad credential, and so refused after the upgrade.
    found.push({ kind: "token", token: match?.[1] ?? "" });
  }
  for (const ticket of query.getAll("ticket")) found.push({ kind: "ticket", ticket });
  const tokens = query.getAll("token");
  if (tokens.length > 0 && !tokenInQuery) {
    throw new PetrelError("PETREL_INVALID_REQUEST", "A token in the query is not accepted here.");
  }
  for (const token of tokens) found.push({ kind: "token", token });
  if (found.length > 1) {
    throw new PetrelError("PETREL_INVALID_REQUEST", "More than one credential: give exactly one.");
  }
  return found[0] ?? { kind: "awaited" };
}

/** Two values would contradict each other. */
function readOnce(query: URLSearchParams, name: string): string | null {
  const values = query.getAll(name);
  if (values.length > 1)
    throw new PetrelError("PETREL_INVALID_REQUEST", `\`${name}\` is given more than once.`);
  return values[0] ?? null;
}

function readPosition(epoch: string | null, since: string | null): ResumePosition | undefined {
  if (epoch === null && since === null) return undefined;
  if (epoch === null || since === null) {
    throw new PetrelError("PETREL_INVALID_REQUEST", "To resume, give both `epoch` and `since`.");
  }
  if (!/^\d{1,15}$/.test(since))
    throw new PetrelError("PETREL_INVALID_REQUEST", "`since` must be a whole number.");
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(epoch)) {
    throw new PetrelError("PETREL_INVALID_REQUEST", "`epoch` is not one that Petrel has issued.");
  }
  return { epoch, since: Number(since) };
}

function readAck(ack: string | null): boolean {
  if (ack === null) return false;
  if (ack !== "auto") throw new PetrelError("PETREL_INVALID_REQUEST", "`ack` must be `auto` or absent.");
  return true;
}

function readBroadcast(all: string | null): BroadcastPosition | undefined {
  if (all === null) return undefined;
  const [, epoch, offset] = /^([A-Za-z0-9._-]{1,64}):(\d{1,15})$/.exec(all) ?? [];
  if (epoch === undefined || offset === undefined)
    throw new PetrelError("PETREL_INVALID_REQUEST", "`all` is EPOCH:OFFSET.");
  return { epoch, offset: Number(offset) };
}
