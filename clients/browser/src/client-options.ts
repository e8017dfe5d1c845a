// What an application tells the client, and the values where it says nothing.
// Guarantees: a client that was made has a usable WebSocket, addresses that are WebSocket URLs, and all timings; what is
// wrong is refused, or told and left out.
import {
  checkChoice,
  checkUrls,
  isNetworkEvents,
  readFunction,
  readNetworkEvents,
  readPosition,
  readTiming,
  type Complain,
} from "./check-options.js";
import type { ClientTiming } from "./client-timing.js";
import type { NetworkEvents } from "./connection/network-watch.js";
import type { SavePosition } from "./delivery/position-saver.js";
import type { SocketConstructor } from "./connection/socket.js";
import type { GetTicket } from "./credentials/ticket-source.js";
import type { GetToken } from "./credentials/token-source.js";
import type { Position } from "./delivery/user-sequence.js";

/**
 * `handled`: the client acknowledges a message when its handlers have finished ·
 * `manual`: the application does, by `client.ack(message)` ·
 * `auto`: the server takes sent for acknowledged (`?ack=auto`); a message sent into a dead socket is lost
 */
export type AckMode = "handled" | "manual" | "auto";

export interface PetrelClientOptions {
  /** One or more push nodes, as `wss://host/v1/connect`; tried in this order, the next one after a failure. */
  readonly url: string | readonly string[];
  /**
   * Asked for an access token when there is none, and when the server refused or soon refuses the last one. May be left
   * out where there is `getTicket`.
   */
  readonly getToken?: GetToken | undefined;
  /**
   * Asked for a ticket at each attempt: it is good once, and travels in the address. With it `getToken` is asked only for
   * what goes over the open connection when the token soon runs out; without that the client moves to a new connection.
   */
  readonly getTicket?: GetTicket | undefined;
  /** Default: the global one. In Node before 22: the default export of `ws`. */
  readonly WebSocket?: SocketConstructor | undefined;
  /** How the token travels. Default `subprotocol`: in the handshake. `first-frame`: after it, unseen by proxies. */
  readonly credentials?: "subprotocol" | "first-frame" | undefined;
  /** Default `handled`. */
  readonly ack?: AckMode | undefined;
  /** Where an earlier client stopped; without it the server starts after what the user acknowledged. */
  readonly position?: Position | null | undefined;
  /**
   * Called when the position has moved, before the ack is sent; the ack does not wait for its promise. One call at a time:
   * the next begins when that has ended, with the newest position. `close` waits for the last one.
   */
  readonly savePosition?: SavePosition | undefined;
  /** In milliseconds; what is not named keeps its default. */
  readonly timing?: { readonly [Name in keyof ClientTiming]?: ClientTiming[Name] | undefined } | undefined;
  /** Default: the global object, where it fires such events. */
  readonly networkEvents?: NetworkEvents | undefined;
}

export interface ResolvedOptions {
  readonly urls: readonly string[];
  readonly getToken: GetToken | undefined;
  readonly getTicket: GetTicket | undefined;
  readonly WebSocket: SocketConstructor;
  readonly credentials: "subprotocol" | "first-frame";
  readonly ack: AckMode;
  readonly position: Position | undefined;
  readonly savePosition: SavePosition | undefined;
  readonly timing: ClientTiming;
  readonly networkEvents: NetworkEvents | undefined;
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
  networkEvents: true,
};

/**
 * @param complain told of an option that is wrong and can be done without: the client works without it
 * @throws TypeError that names the option which is missing or wrong, where nothing can stand in for it
 */
export function resolveOptions(options: PetrelClientOptions, complain: Complain): ResolvedOptions {
  // Of JavaScript.
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
  const WebSocket = options.WebSocket ?? globalWebSocket();
  if (WebSocket === undefined) {
    throw new TypeError("WebSocket: there is no global one here; pass the default export of the package ws");
  }
  if (typeof WebSocket !== "function") throw new TypeError("WebSocket: a constructor is needed");
  return Object.freeze({
    urls: checkUrls(options.url),
    getToken,
    getTicket,
    WebSocket,
    credentials: checkChoice("credentials", options.credentials, ["subprotocol", "first-frame"]),
    ack: checkChoice("ack", options.ack, ["handled", "manual", "auto"]),
    position: readPosition(options.position, complain),
    savePosition: readFunction("savePosition", options.savePosition, complain),
    timing: readTiming(options.timing, complain),
    networkEvents: readNetworkEvents(options.networkEvents, complain) ?? globalNetworkEvents(),
  });
}

function globalWebSocket(): SocketConstructor | undefined {
  return (globalThis as { readonly WebSocket?: SocketConstructor }).WebSocket;
}

function globalNetworkEvents(): NetworkEvents | undefined {
  return isNetworkEvents(globalThis) ? globalThis : undefined;
}

/**
 * @param base a push node's address
 * @param position resume after it
 * @param ticket where one is the credential
 * @returns the address with the query of the contract; a query that was there stays
 */
export function connectUrl(
  base: string,
  position: Position | undefined,
  ack: AckMode,
  ticket?: string,
): string {
  const url = new URL(base);
  if (ticket !== undefined) url.searchParams.set("ticket", ticket);
  if (position !== undefined) {
    url.searchParams.set("epoch", position.epoch);
    url.searchParams.set("since", String(position.since));
  }
  if (ack === "auto") url.searchParams.set("ack", "auto");
  return url.href;
}
