// What an application tells the client, and the values where it says nothing.
// Guarantees: a client that was made has a usable WebSocket, addresses that are WebSocket URLs, and all timings.
import type { SocketConstructor } from "./socket.js";
import type { GetTicket } from "./ticket-source.js";
import type { GetToken } from "./token-source.js";
import type { Position } from "./user-sequence.js";

export interface ClientTiming {
  /** Full jitter between 0 and `min(cap, base * 2^n)`, after most closes. */
  readonly backoffBaseMs: number;
  readonly backoffCapMs: number;
  /** After 4429 and codes that are not known: the upper half of the same formula. */
  readonly longBackoffBaseMs: number;
  readonly longBackoffCapMs: number;
  /** A connection that lasted this long resets the backoff. */
  readonly stableAfterMs: number;
  /** From the first byte to the welcome. */
  readonly connectTimeoutMs: number;
  /** How long `getToken` and `getTicket` may take. */
  readonly tokenTimeoutMs: number;
  /** Handled messages within this time share one ack. */
  readonly ackDelayMs: number;
  /** After the network came back: how long a socket that was open may take to show that it still is. */
  readonly probeMs: number;
  /** While the browser says "offline": a slow attempt all the same, since it can be wrong. */
  readonly offlineRetryMs: number;
  /** How long `close` waits for the running handler, and then for the server's close frame. */
  readonly closeGraceMs: number;
}

export const defaultTiming: ClientTiming = Object.freeze({
  backoffBaseMs: 500,
  backoffCapMs: 30_000,
  longBackoffBaseMs: 5_000,
  longBackoffCapMs: 120_000,
  stableAfterMs: 5_000,
  connectTimeoutMs: 10_000,
  tokenTimeoutMs: 15_000,
  ackDelayMs: 5,
  probeMs: 5_000,
  offlineRetryMs: 60_000,
  closeGraceMs: 2_000,
});

/**
 * `handled`: the client acknowledges a message when its handlers have finished ·
 * `manual`: the application does, by `client.ack(message)` ·
 * `auto`: the server takes sent for acknowledged (`?ack=auto`); a message sent into a dead socket is lost
 */
export type AckMode = "handled" | "manual" | "auto";

/** Fires `online` and `offline`, as a browser's global object does. */
export interface NetworkEvents {
  addEventListener(type: "online" | "offline", listener: () => void): void;
  removeEventListener(type: "online" | "offline", listener: () => void): void;
}

export interface PetrelClientOptions {
  /** One or more push nodes, as `wss://host/v1/connect`; tried in this order, the next one after a failure. */
  readonly url: string | readonly string[];
  /**
   * Asked for an access token when there is none, and when the server refused or soon refuses the last one. May be left
   * out where there is `getTicket`.
   */
  readonly getToken?: GetToken;
  /**
   * Asked for a ticket at each attempt: it is good once, and travels in the address. With it `getToken` is asked only for
   * what goes over the open connection when the token soon runs out; without that the client moves to a new connection.
   */
  readonly getTicket?: GetTicket;
  /** Default: the global one. In Node before 22: the default export of `ws`. */
  readonly WebSocket?: SocketConstructor;
  /** How the token travels. Default `subprotocol`: in the handshake. `first-frame`: after it, unseen by proxies. */
  readonly credentials?: "subprotocol" | "first-frame";
  /** Default `handled`. */
  readonly ack?: AckMode;
  /** Where an earlier client stopped; without it the server starts after what the user acknowledged. */
  readonly position?: Position;
  /** Told when the position has moved, before the ack is sent; at most once for each ack. */
  readonly savePosition?: (position: Position) => void | Promise<void>;
  readonly timing?: Partial<ClientTiming>;
  /** Default: the global object, where it fires such events. */
  readonly networkEvents?: NetworkEvents;
}

export interface ResolvedOptions {
  readonly urls: readonly string[];
  readonly getToken: GetToken | undefined;
  readonly getTicket: GetTicket | undefined;
  readonly WebSocket: SocketConstructor;
  readonly credentials: "subprotocol" | "first-frame";
  readonly ack: AckMode;
  readonly position: Position | undefined;
  readonly savePosition: ((position: Position) => void | Promise<void>) | undefined;
  readonly timing: ClientTiming;
  readonly networkEvents: NetworkEvents | undefined;
}

/** @throws TypeError that names the option which is missing or wrong */
export function resolveOptions(options: PetrelClientOptions): ResolvedOptions {
  const urls = typeof options.url === "string" ? [options.url] : [...options.url];
  if (urls.length === 0) throw new TypeError("url: at least one is needed");
  for (const url of urls) {
    const protocol = URL.canParse(url) ? new URL(url).protocol : "";
    if (protocol !== "ws:" && protocol !== "wss:") {
      throw new TypeError(`url: ${JSON.stringify(url)} is not a ws:// or wss:// URL`);
    }
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
  return Object.freeze({
    urls,
    getToken,
    getTicket,
    WebSocket,
    credentials: options.credentials ?? "subprotocol",
    ack: options.ack ?? "handled",
    position: options.position,
    savePosition: options.savePosition,
    timing: { ...defaultTiming, ...options.timing },
    networkEvents: options.networkEvents ?? globalNetworkEvents(),
  });
}

function globalWebSocket(): SocketConstructor | undefined {
  return (globalThis as { readonly WebSocket?: SocketConstructor }).WebSocket;
}

function globalNetworkEvents(): NetworkEvents | undefined {
  const candidate = globalThis as Partial<NetworkEvents>;
  return typeof candidate.addEventListener === "function" &&
    typeof candidate.removeEventListener === "function"
    ? (candidate as NetworkEvents)
    : undefined;
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
