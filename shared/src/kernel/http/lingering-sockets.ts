// A connection's last answer, sent while the client still sends -> here: the socket stays open until the client has
// read it.
// Guarantees: incoming bytes are thrown away, so that no reset overtakes the answer. Time, bytes and the number of
// sockets are bounded, and no address keeps out another.
import { Socket } from "node:net";
import { type Clock, systemClock } from "../clock.js";
import { readAddress } from "./client-address.js";
import { SlotsByAddress } from "../limits/slots-by-address.js";

export interface LingerBounds {
  readonly max: number;
  readonly maxPerAddress: number;
  /** The longest a socket may linger. */
  readonly totalMs: number;
  /** The longest it may send nothing. */
  readonly silenceMs: number;
  readonly maxBytes: number;
}

export const defaultLingerBounds: LingerBounds = {
  max: 1_000,
  maxPerAddress: 200,
  totalMs: 10_000,
  silenceMs: 2_000,
  // Eight times the largest body of any route: no honest client sends more.
  maxBytes: 64 * 1024 * 1024,
};

interface Lingering {
  readonly socket: Socket;
  readonly startedAtMs: number;
  readonly startedAtBytes: number;
  heardAtMs: number;
  heardBytes: number;
}

const LOOK_INTERVAL_MS = 250;
const discard = (): void => undefined;

export class LingeringSockets {
  readonly #bounds: LingerBounds;
  readonly #clock: Clock;
  readonly #isShared: (address: string) => boolean;
  readonly #slots: SlotsByAddress<Lingering>;
  readonly #known = new WeakSet<Socket>();
  #timer: NodeJS.Timeout | undefined;

  /** @param isShared whether many clients share this address */
  constructor(bounds: LingerBounds, isShared: (address: string) => boolean, clock: Clock = systemClock) {
    this.#bounds = bounds;
    this.#isShared = isShared;
    this.#clock = clock;
    const { max, maxPerAddress } = bounds;
    this.#slots = new SlotsByAddress({
      max,
      maxPerAddress,
      onPushedOut: ({ socket }) => socket.destroy(),
    });
  }

  get size(): number {
    return this.#slots.size;
  }

  has(socket: Socket): boolean {
    return this.#known.has(socket);
  }

  /** Sends what has been written and ends the socket; nothing that arrives is parsed any more. */
  add(socket: Socket): void {
    if (this.#known.has(socket) || socket.destroyed) return;
    this.#known.add(socket);
    // Takes the bytes from the HTTP parser, which bypasses the stream while nobody else listens.
    socket.on("data", discard);
    for (const listener of socket.listeners("data")) {
      if (listener !== discard) socket.off("data", listener as () => void);
    }
    socket.removeAllListeners("end");
    socket.once("end", () => socket.destroySoon());
    socket.on("error", () => undefined);
    // Restores the socket's own method, in case it was replaced (see bodies-under-way).
    socket.destroySoon = Socket.prototype.destroySoon.bind(socket);
    const address = readAddress(socket.remoteAddress ?? "") ?? "";
    const nowMs = this.#clock.monotonicMs();
    const { bytesRead } = socket;
    const lingering: Lingering = {
      socket,
      startedAtMs: nowMs,
      startedAtBytes: bytesRead,
      heardAtMs: nowMs,
      heardBytes: bytesRead,
    };
    socket.once("close", () => this.#slots.free(address, lingering));
    socket.end();
    socket.resume();
    // A body that nobody read has paused the handle without the stream knowing.
    socket._read(0);
    this.#slots.take(address, lingering, this.#isShared(address));
    this.#timer ??= setInterval(() => this.#look(), LOOK_INTERVAL_MS).unref();
  }

  #look(): void {
    const nowMs = this.#clock.monotonicMs();
    const { totalMs, silenceMs, maxBytes } = this.#bounds;
    for (const one of this.#slots.all()) {
      const { bytesRead } = one.socket;
      if (bytesRead !== one.heardBytes) {
        one.heardAtMs = nowMs;
        one.heardBytes = bytesRead;
      }
      const isOver =
        nowMs - one.startedAtMs >= totalMs ||
        nowMs - one.heardAtMs >= silenceMs ||
        bytesRead - one.startedAtBytes >= maxBytes;
      if (isOver) one.socket.destroy();
    }
    if (this.#slots.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
