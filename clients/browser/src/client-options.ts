// The client's options and their defaults.
// Guarantees: every client has a usable WebSocket, valid WebSocket URLs and all timings. A wrong option is refused, or
// reported and ignored.
import {
  checkChoice,
  checkUrls,
  isNetworkEvents,
  readFunction,
  readNetworkEvents,
  readPosition,
  readTiming,
  shown,
  type Complain,
} from "./check-options.js";
import type { ClientTiming } from "./client-timing.js";
import { debugLog, type Debug } from "./debug-log.js";
import type { NetworkEvents } from "./connection/network-watch.js";
import type { SavePosition } from "./delivery/position-saver.js";
import type { SharedAck } from "./share/hub/ack-policy.js";
import type { ShareEnvironment } from "./share/share-environment.js";
import type { SocketConstructor } from "./connection/socket.js";
import type { GetTicket } from "./credentials/ticket-source.js";
import type { GetToken } from "./credentials/token-source.js";
import type { Position } from "./delivery/user-sequence.js";
import type { TopicPosition } from "./frames.js";
import { parseUrl } from "./parse-url.js";

/**
 * `handled`: the client acknowledges a message when its handlers have finished · `visible`: when they have finished
 * *and* the page is visible, or the application calls `message.seen()`, so that a page in the background silences no
 * phone · `manual`: the application acknowledges, with `client.ack(message)` · `auto`: the server counts a sent message
 * as acknowledged (`?ack=auto`); one sent into a dead socket is lost.
 */
export type AckMode = "handled" | "visible" | "manual" | "auto";

export interface PetrelClientOptions {
  /**
   * One or more push nodes, as `wss://host/v1/connect`; `https:` counts as `wss:`, and a relative URL is relative to
   * the page. After a failure the client tries the next one.
   */
  readonly url: string | readonly string[];
  /**
   * Called for an access token: when the client has none, when the server refused the last one, and shortly before it
   * expires. Optional if there is a `getTicket`.
   */
  readonly getToken?: GetToken | undefined;
  /**
   * Called for a ticket at each attempt. A ticket works once and travels in the URL. The client then calls `getToken`
   * only to renew an open connection whose token is about to expire. Without `getToken` it moves to a new connection.
   */
  readonly getTicket?: GetTicket | undefined;
  /** Default: the global `WebSocket`, at the time of connecting. In Node before 22, pass the default export of `ws`. */
  readonly WebSocket?: SocketConstructor | undefined;
  /** How the token travels. `subprotocol` (default): in the handshake. `first-frame`: after it, hidden from proxies. */
  readonly credentials?: "subprotocol" | "first-frame" | undefined;
  /** Default `handled`. */
  readonly ack?: AckMode | undefined;
  /** Where an earlier client stopped. Without it, the server starts after the user's last acknowledged message. */
  readonly position?: Position | null | undefined;
  /**
   * Called when the position has moved, before the ack is sent. The ack does not wait for the promise. Calls never
   * overlap: the next one starts when the last has ended, with the newest position. `close` waits for the last call.
   */
  readonly savePosition?: SavePosition | undefined;
  /** In milliseconds. Timings you leave out keep their defaults. */
  readonly timing?: { readonly [Name in keyof ClientTiming]?: ClientTiming[Name] | undefined } | undefined;
  /** Logs what the client does, to the console or to a function: no tokens, no data. */
  readonly debug?: boolean | Debug | undefined;
  /**
   * One connection for all tabs of this browser with the same user, rights and options; one of them holds it. If the
   * browser cannot, or the token is unreadable and there is no `key`, a tab has a connection of its own.
   */
  readonly shared?: boolean | SharedOptions | undefined;
  /** Default: the global object, if it fires these events. */
  readonly networkEvents?: NetworkEvents | undefined;
}

export interface SharedOptions {
  /** Identifies the user, if the token does not: tabs with the same key share. Required with `getTicket`. */
  readonly key?: string | undefined;
  /**
   * `any` (default): acknowledged when one tab has acknowledged · `all`: when all tabs that listen for messages have.
   */
  readonly ack?: SharedAck | undefined;
  /** Default: the browser's locks, channels and page. */
  readonly environment?: ShareEnvironment | undefined;
}

export interface ResolvedOptions {
  readonly urls: readonly string[];
  readonly getToken: GetToken | undefined;
  readonly getTicket: GetTicket | undefined;
  /** Undefined if there is none: on a server that renders a page. */
  readonly WebSocket: SocketConstructor | undefined;
  readonly credentials: "subprotocol" | "first-frame";
  readonly ack: AckMode;
  readonly position: Position | undefined;
  readonly savePosition: SavePosition | undefined;
  readonly timing: ClientTiming;
  readonly debug: Debug | undefined;
  readonly networkEvents: NetworkEvents | undefined;
  /** Undefined if the tab must have a connection of its own. */
  readonly shared: ResolvedShare | undefined;
}

export interface ResolvedShare {
  readonly key: string | undefined;
  readonly ack: SharedAck;
  readonly environment: ShareEnvironment | undefined;
}

const optionNames: Readonly<Record<keyof PetrelClientOptions, true>> = {
  url: true,
  getToken: true,
  getTicket: true,
  WebSocket: true,
  credentials: true,
  ack: true,
  position: true,
  savePosition: true,
  timing: true,
  debug: true,
  networkEvents: true,
  shared: true,
};

/**
 * @param complain called for a wrong option that the client can work without
 * @throws TypeError naming a missing or wrong option that the client cannot work without
 */
export function resolveOptions(options: PetrelClientOptions, complain: Complain): ResolvedOptions {
  // JavaScript callers can leave it out.
  if (typeof options !== "object" || (options as unknown) === null) {
    throw new TypeError("options: an object is needed");
  }
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(optionNames, name)) complain(`${name}: there is no such option`);
  }
  const { getToken, getTicket } = options;
  for (const [name, get] of Object.entries({ getToken, getTicket })) {
    if (get !== undefined && typeof get !== "function") throw new TypeError(`${name}: a function is needed`);
  }
  if (getToken === undefined && getTicket === undefined) {
    throw new TypeError("getToken: a function is needed, or getTicket");
  }
  const { WebSocket } = options;
  if (WebSocket !== undefined && typeof WebSocket !== "function")
    throw new TypeError("WebSocket: a constructor is needed");
  return Object.freeze({
    urls: checkUrls(options.url),
    getToken,
    getTicket,
    WebSocket,
    credentials: checkChoice("credentials", options.credentials, ["subprotocol", "first-frame"]),
    ack: checkChoice("ack", options.ack, ["handled", "visible", "manual", "auto"]),
    position: readPosition(options.position, complain),
    savePosition: readFunction("savePosition", options.savePosition, complain),
    timing: readTiming(options.timing, complain),
    debug: debugLog(options.debug),
    networkEvents: readNetworkEvents(options.networkEvents, complain) ?? globalNetworkEvents(),
    shared: readShared(options.shared, complain),
  });
}

function readShared(given: unknown, complain: Complain): ResolvedShare | undefined {
  if (given === undefined || given === null || given === false) return undefined;
  if (given !== true && typeof given !== "object") {
    complain(`shared: true, false or an object is needed, not ${shown(given)}`);
    return undefined;
  }
  const {
    key,
    ack = "any",
    environment,
    ...others
  } = given === true ? ({} as SharedOptions) : (given as SharedOptions);
  for (const name of Object.keys(others)) complain(`shared.${name}: there is no such option`);
  const isKey = key === undefined || (typeof key === "string" && key !== "");
  if (isKey && ["any", "all"].includes(ack)) return { key, ack, environment };
  complain(`shared: ${shown(given)}: key is a string, ack is any or all; each tab has its own connection`);
  return undefined;
}

/** @throws TypeError if no connection can ever be made, such as on a server that renders a page */
export function checkConnectable({ WebSocket, urls }: ResolvedOptions): void {
  if ((WebSocket ?? globalWebSocket()) === undefined) {
    throw new TypeError("WebSocket: there is no global one here; pass the default export of the package ws");
  }
  const relative = urls.find((url) => parseUrl(url) === undefined);
  if (relative !== undefined)
    throw new TypeError(`url: ${shown(relative)} is relative, and there is no page here`);
}

export function globalWebSocket(): SocketConstructor | undefined {
  return (globalThis as { readonly WebSocket?: SocketConstructor }).WebSocket;
}

function globalNetworkEvents(): NetworkEvents | undefined {
  return isNetworkEvents(globalThis) ? globalThis : undefined;
}

/** The client's positions in everything that its connection sends unasked. */
export interface Positions {
  readonly user: Position | undefined;
  readonly broadcast: TopicPosition | undefined;
}

/**
 * @param base a push node's address
 * @param positions resume after them
 * @param ticket if the credential is a ticket
 * @returns the address with the contract's query added to the one it has
 */
export function connectUrl(
  base: string,
  { user: position, broadcast }: Positions,
  ack: AckMode,
  ticket?: string,
): string {
  const url = new URL(base);
  if (ticket !== undefined) url.searchParams.set("ticket", ticket);
  if (position !== undefined) {
    url.searchParams.set("epoch", position.epoch);
    url.searchParams.set("since", String(position.since));
  }
  if (broadcast !== undefined) url.searchParams.set("all", `${broadcast.epoch}:${broadcast.offset}`);
  if (ack === "auto") url.searchParams.set("ack", "auto");
  return url.href;
}
