// fault-proxy -> here: one client's connection through the proxy, with a lane each way.
// Guarantees: bytes leave in the order they came. While a lane is stalled nothing leaves it, neither bytes nor the end
// of the stream; what was held back leaves when the stall ends.
import { connect, type Socket } from "node:net";

/** `toTarget`: what the client says · `toClient`: what the target answers */
export type LinkDirection = "toTarget" | "toClient";

export interface LinkConditions {
  readonly stalled: ReadonlySet<LinkDirection>;
  /** Each piece is held back for this long, each way. */
  readonly latencyMs: number;
  /** Bytes per second each way; Infinity for no bound. */
  readonly bytesPerSecond: number;
}

/** A piece on its way; without bytes it is the end of the stream. */
interface Piece {
  readonly bytes: Buffer | undefined;
  readonly dueMs: number;
}

/** Beyond this the sender is not read until some has left. */
const MAX_HELD_BYTES = 1024 * 1024;

/** One direction of a link. */
class Lane {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #conditions: () => LinkConditions;
  readonly #direction: LinkDirection;
  #pieces: Piece[] = [];
  #heldBytes = 0;
  #freeAtMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(from: Socket, to: Socket, direction: LinkDirection, conditions: () => LinkConditions) {
    this.#from = from;
    this.#to = to;
    this.#direction = direction;
    this.#conditions = conditions;
    from.on("data", (bytes: Buffer) => this.#take(bytes));
    from.on("end", () => this.#take(undefined));
    to.on("drain", () => this.move());
  }

  /** Sends what is due, as far as the conditions allow. */
  move(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#conditions().stalled.has(this.#direction)) {
      // Reading stops too: the sender's kernel buffer fills up, as on a dead link.
      this.#from.pause();
      return;
    }
    for (let piece = this.#pieces[0]; piece !== undefined; piece = this.#pieces[0]) {
      const waitMs = piece.dueMs - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.move(), Math.ceil(waitMs));
        break;
      }
      if (this.#to.writableNeedDrain) break;
      this.#pieces.shift();
      if (piece.bytes === undefined) {
        this.#to.end();
        continue;
      }
      this.#heldBytes -= piece.bytes.length;
      this.#to.write(piece.bytes);
    }
    if (this.#heldBytes < MAX_HELD_BYTES) this.#from.resume();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#pieces = [];
  }

  #take(bytes: Buffer | undefined): void {
    const { latencyMs, bytesPerSecond } = this.#conditions();
    const nowMs = performance.now();
    const length = bytes?.length ?? 0;
    const startMs = Math.max(nowMs, this.#freeAtMs);
    this.#freeAtMs = startMs + (length / bytesPerSecond) * 1_000;
    this.#pieces.push({ bytes, dueMs: this.#freeAtMs + latencyMs });
    this.#heldBytes += length;
    if (this.#heldBytes >= MAX_HELD_BYTES) this.#from.pause();
    this.move();
  }
}

export class FaultLink {
  readonly #client: Socket;
  readonly #conditions: () => LinkConditions;
  readonly #targetPort: number;
  readonly #onClosed: () => void;
  #target: Socket | undefined;
  #lanes: Lane[] = [];
  /** Closed at one end while stalled: the other end learns of it when the stall is over. */
  #isHalfGone = false;

  /** @param client must be made with `allowHalfOpen` */
  constructor(client: Socket, targetPort: number, conditions: () => LinkConditions, onClosed: () => void) {
    this.#client = client;
    this.#targetPort = targetPort;
    this.#conditions = conditions;
    this.#onClosed = onClosed;
    client.setNoDelay(true);
    this.#watch(client);
    this.proceed();
  }

  /** Goes on after the conditions have changed, as far as they allow. */
  proceed(): void {
    if (this.#conditions().stalled.size === 0) {
      if (this.#isHalfGone) {
        this.close();
        return;
      }
      if (this.#target === undefined) this.#connectTarget();
    }
    for (const lane of this.#lanes) lane.move();
  }

  /** FIN to both ends. */
  close(): void {
    this.#stopLanes();
    this.#client.destroy();
    this.#target?.destroy();
  }

  /** RST to both ends. */
  reset(): void {
    this.#stopLanes();
    this.#client.resetAndDestroy();
    this.#target?.resetAndDestroy();
  }

  #connectTarget(): void {
    const target = connect({ port: this.#targetPort, host: "127.0.0.1", allowHalfOpen: true });
    target.setNoDelay(true);
    this.#target = target;
    this.#watch(target);
    this.#lanes = [
      new Lane(this.#client, target, "toTarget", this.#conditions),
      new Lane(target, this.#client, "toClient", this.#conditions),
    ];
  }

  #watch(socket: Socket): void {
    socket.on("error", () => undefined);
    socket.on("close", () => {
      if (this.#conditions().stalled.size > 0) this.#isHalfGone = true;
      else this.close();
      if (this.#client.destroyed) this.#onClosed();
    });
  }

  #stopLanes(): void {
    for (const lane of this.#lanes) lane.stop();
  }
}
