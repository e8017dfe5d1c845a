// A request's head was read -> here, until its body is in: bounds how much slow bodies may hold, and for how long.
// Guarantees: bodies under way are bounded in number and bytes, in total and per address. A newcomer always gets a
// slot: the address with the most gives up its oldest. Each body must keep a minimum speed. A request that loses its
// slot gets an error of the catalogue. After an early answer the rest of the body is read for a moment, so that the
// client can read that answer. A request whose body arrives with its head costs only a look at two headers.
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { Socket } from "node:net";
import { clientOf, limitKeyOfAddress, type TrustedProxies } from "./client-address.js";
import { type Clock, systemClock } from "../clock.js";
import { PetrelError } from "../errors.js";
import type { LingeringSockets } from "./lingering-sockets.js";
import { SlotsByAddress } from "../limits/slots-by-address.js";

export interface BodyBounds {
  readonly max: number;
  readonly maxPerAddress: number;
  /** Of all bodies together; beyond it, the address with the most bytes loses its slots first. */
  readonly maxBytes: number;
  /** The time that even an empty body may take. */
  readonly baseMs: number;
  /** The minimum speed, on top of that time. */
  readonly bytesPerSecond: number;
  /** No body may take longer than this. */
  readonly longestMs: number;
  /** The limit for a body of undeclared length. */
  readonly bodyLimitBytes: number;
}

interface Body {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly socket: Socket;
  readonly address: string;
  readonly startedAtBytes: number;
  deadlineMs: number;
  isRefused: boolean;
}

const LOOK_INTERVAL_MS = 250;
/** How long a refused request may take until its answer is sent. */
const GOODBYE_MS = 5_000;

export class BodiesUnderWay {
  readonly #bounds: BodyBounds;
  readonly #trusted: TrustedProxies;
  readonly #lingering: LingeringSockets;
  readonly #clock: Clock;
  readonly #onRefused: () => void;
  readonly #slots: SlotsByAddress<Body>;
  readonly #byRequest = new Map<IncomingMessage, Body>();
  /** Heads read in this turn of the event loop: most bodies are complete by the end of it. */
  #heads: (readonly [IncomingMessage, ServerResponse])[] = [];
  #timer: NodeJS.Timeout | undefined;
  /** Replaces the socket's own method, which resets a connection that still has unread bytes. */
  readonly #destroySoon: () => void;

  /** @param onRefused called for each body that gave up its slot to others */
  constructor(
    bounds: BodyBounds,
    trusted: TrustedProxies,
    lingering: LingeringSockets,
    onRefused: () => void,
    clock: Clock = systemClock,
  ) {
    this.#bounds = bounds;
    this.#trusted = trusted;
    this.#lingering = lingering;
    this.#onRefused = onRefused;
    this.#clock = clock;
    const { max, maxPerAddress } = bounds;
    this.#slots = new SlotsByAddress({ max, maxPerAddress, onPushedOut: (body) => this.#giveUp(body) });
    const isSending = (socket: Socket): boolean => this.#isSending(socket);
    this.#destroySoon = function destroySoon(this: Socket): void {
      if (isSending(this)) lingering.add(this);
      else Socket.prototype.destroySoon.call(this);
    };
  }

  get size(): number {
    return this.#byRequest.size;
  }

  watch(server: Server): void {
    // Must run first: the framework may answer before a later listener runs.
    server.prependListener("request", (request: IncomingMessage, response: ServerResponse) => {
      const { headers } = request;
      const length = headers["content-length"];
      if ((length === undefined || length === "0") && headers["transfer-encoding"] === undefined) return;
      const { socket } = request;
      if (socket.destroySoon !== this.#destroySoon && !this.#lingering.has(socket)) {
        socket.destroySoon = this.#destroySoon;
      }
      if (this.#heads.length === 0) setImmediate(() => this.#lookAtHeads());
      this.#heads.push([request, response]);
    });
  }

  /**
   * Makes the code that waits for this body answer with an error instead.
   * @returns false if no code waits for it; then the caller must answer
   */
  refuse(request: IncomingMessage, error: PetrelError): boolean {
    const response = this.#byRequest.get(request)?.response ?? this.#responseOfHead(request);
    const body = this.#byRequest.get(request) ?? (response && this.#enter(request, response));
    if (body === undefined) return false;
    if (body.isRefused) return true;
    if (body.response.headersSent) return false;
    body.isRefused = true;
    body.deadlineMs = this.#clock.monotonicMs() + GOODBYE_MS;
    body.response.setHeader("connection", "close");
    failWhenRead(request, error);
    return true;
  }

  /** For the stop: answers every request whose body is still incomplete. */
  refuseAll(makeError: () => PetrelError): void {
    for (const body of this.#byRequest.values()) this.#end(body, makeError());
  }

  #isSending(socket: Socket): boolean {
    for (const { socket: one, request } of this.#byRequest.values()) {
      if (one === socket && !request.complete) return true;
    }
    return this.#heads.some(([request]) => request.socket === socket && !request.complete);
  }

  #responseOfHead(request: IncomingMessage): ServerResponse | undefined {
    return this.#heads.find(([one]) => one === request)?.[1];
  }

  #lookAtHeads(): void {
    const heads = this.#heads;
    this.#heads = [];
    for (const [request, response] of heads) {
      const { complete, socket } = request;
      // A request refused in the same turn as its head is already registered.
      if (complete || socket.destroyed || this.#byRequest.has(request)) continue;
      if (!this.#lingering.has(socket)) this.#enter(request, response);
    }
  }

  #enter(request: IncomingMessage, response: ServerResponse): Body {
    const { socket, headers } = request;
    const client = clientOf(request, this.#trusted);
    const announced = Number(headers["content-length"] ?? this.#bounds.bodyLimitBytes);
    const { baseMs, bytesPerSecond, longestMs } = this.#bounds;
    const allowedMs = Math.min(longestMs, baseMs + (announced / bytesPerSecond) * 1_000);
    const body: Body = {
      request,
      response,
      socket,
      address: limitKeyOfAddress(client),
      startedAtBytes: socket.bytesRead,
      deadlineMs: this.#clock.monotonicMs() + allowedMs,
      isRefused: false,
    };
    this.#byRequest.set(request, body);
    request.once("close", () => this.#leave(body));
    // A proxy that names its client is not counted itself; one that does not stands for all of its clients.
    this.#slots.take(body.address, body, this.#trusted.includes(client));
    this.#timer ??= setInterval(() => this.#look(), LOOK_INTERVAL_MS).unref();
    return body;
  }

  #leave(body: Body): void {
    this.#byRequest.delete(body.request);
    this.#slots.free(body.address, body);
  }

  #look(): void {
    const nowMs = this.#clock.monotonicMs();
    let bytes = 0;
    for (const body of this.#byRequest.values()) {
      if (body.request.complete || body.socket.destroyed || this.#lingering.has(body.socket)) {
        this.#leave(body);
        continue;
      }
      if (nowMs >= body.deadlineMs) this.#end(body, lateBody());
      else bytes += held(body);
    }
    if (bytes > this.#bounds.maxBytes) this.#giveUpLargest(bytes);
    if (this.#byRequest.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Answers if it can; destroys the socket if it tried already, or cannot. */
  #end(body: Body, error: PetrelError): void {
    if (body.isRefused || !this.refuse(body.request, error)) body.socket.destroy();
  }

  /** Called when this body has lost its slot. */
  #giveUp(body: Body): void {
    this.#onRefused();
    const message = "Too many requests are still sending their bodies: send this one again.";
    this.#end(body, new PetrelError("PETREL_UNAVAILABLE", message));
  }

  #giveUpLargest(total: number): void {
    const byAddress = new Map<string, number>();
    for (const body of this.#byRequest.values()) {
      byAddress.set(body.address, (byAddress.get(body.address) ?? 0) + held(body));
    }
    let excess = total - this.#bounds.maxBytes;
    const addresses = [...byAddress].sort(([, a], [, b]) => b - a).map(([address]) => address);
    for (const address of addresses) {
      for (const body of this.#byRequest.values()) {
        if (excess <= 0) return;
        if (body.address !== address || held(body) === 0) continue;
        excess -= held(body);
        this.#slots.free(body.address, body);
        this.#giveUp(body);
      }
    }
  }
}

/** Bytes of a body so far; a body that is being discarded holds none. */
function held({ socket, startedAtBytes, response, isRefused }: Body): number {
  return isRefused || response.headersSent ? 0 : socket.bytesRead - startedAtBytes;
}

/** Fails on the next read, not now: an error event without a listener would end the process. */
function failWhenRead(request: IncomingMessage, error: PetrelError): void {
  if (request.listenerCount("error") > 0) {
    request.emit("error", error);
    return;
  }
  const onNewListener = (name: string): void => {
    if (name !== "error") return;
    request.off("newListener", onNewListener);
    setImmediate(() => {
      if (request.listenerCount("error") > 0) request.emit("error", error);
    });
  };
  request.on("newListener", onNewListener);
}

export function lateBody(): PetrelError {
  return new PetrelError("PETREL_REQUEST_TIMEOUT", "The body did not arrive in time.");
}
