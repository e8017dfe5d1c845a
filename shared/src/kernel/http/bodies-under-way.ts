// A request's head was read -> here, until its body is in: what slow bodies may hold, and for how long.
// Guarantees: bodies that are under way are bounded in number and bytes, in all and for each address, and whoever has
// just come has a slot: the oldest of the address that has most gives its own up. Each comes at a least speed. Who is
// given up is answered, with an error of the catalogue; who was answered before its body was in is read for a moment
// longer, so that it can read that answer. A request whose body comes with its head costs a look at two headers.
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
  /** Of all of them together; the address with most bytes gives up first. */
  readonly maxBytes: number;
  /** What a body of no bytes may take to come. */
  readonly baseMs: number;
  /** How fast a body has to come beside that. */
  readonly bytesPerSecond: number;
  /** More than that no body may take. */
  readonly longestMs: number;
  /** What a body may have where its length is not told. */
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
/** How long one that was given up may take until its answer has gone out. */
const GOODBYE_MS = 5_000;

export class BodiesUnderWay {
  readonly #bounds: BodyBounds;
  readonly #trusted: TrustedProxies;
  readonly #lingering: LingeringSockets;
  readonly #clock: Clock;
  readonly #onRefused: () => void;
  readonly #slots: SlotsByAddress<Body>;
  readonly #byRequest = new Map<IncomingMessage, Body>();
  /** Heads of this turn: most bodies have come when it is over. */
  #heads: (readonly [IncomingMessage, ServerResponse])[] = [];
  #timer: NodeJS.Timeout | undefined;
  /** In the place of a socket's own, which resets a connection that still has unread bytes. */
  readonly #destroySoon: () => void;

  /** @param onRefused called for each body that was given up because others needed its slot */
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
    // First: the framework may have answered before another listener is called.
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
   * Has whoever waits for this body answer with an error, in place of what it would have become.
   * @returns false where nobody waits for it (any more): it is for the caller to say something
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

  /** At a stop: whoever has not sent all of a body by now is answered. */
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
      // One that was refused in its head's turn is here already.
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
    // A proxy that says for whom it asks is not asked for itself; one that does not stands for all.
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

  /** Answers where that is possible, and cuts where it was tried, or is not. */
  #end(body: Body, error: PetrelError): void {
    if (body.isRefused || !this.refuse(body.request, error)) body.socket.destroy();
  }

  /** It has lost its slot. */
  #giveUp(body: Body): void {
    this.#onRefused();
    const message = "Too many requests whose bodies are still to come: send this one again.";
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

/** What has come of a body so far; of one that is only thrown away nothing is kept. */
function held({ socket, startedAtBytes, response, isRefused }: Body): number {
  return isRefused || response.headersSent ? 0 : socket.bytesRead - startedAtBytes;
}

/** To whoever reads it: heard by nobody, an error would end the process. */
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
  return new PetrelError("PETREL_REQUEST_TIMEOUT", "The body did not come in time.");
}
