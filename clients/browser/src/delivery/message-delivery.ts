// Takes a message frame to the application's handlers, and then acknowledges it.
// Guarantees: each message reaches the application once and in order. Its ack leaves after its handlers have finished,
// and only over a socket that has carried it; with `visible`, not before the page can be seen. A message that is
// recalled before its turn is not handed over.
import { AckCoalescer, pageIsHidden } from "./ack-coalescer.js";
import type { AckMode } from "../client-options.js";
import type { Connection } from "../connection/connection.js";
import type { MessageFrame, RecalledFrame, WelcomeFrame } from "../frames.js";
import { HandedMessage, type PetrelMessage } from "./handed-message.js";
import { DeliveredIds } from "./delivered-ids.js";
import { MessagePump, type Pumped } from "./message-pump.js";
import { UnseenMessages } from "./unseen-messages.js";
import { UserSequence, type Dropped, type Position } from "./user-sequence.js";

/** A message that was cancelled after it had been sent. */
export interface RecalledMessage {
  readonly id: string;
  readonly seq: number;
  readonly epoch: string;
}

/** A server tells a connection about the newest few; more can only arrive one by one. */
const REMEMBERED_RECALLS = 1_000;

export interface MessageDeliveryOptions {
  readonly ack: AckMode;
  readonly position: Position | undefined;
  readonly ackDelayMs: number;
  readonly ackGatherMs: number;
  /** Whether anyone listens. Without a handler, messages wait unacknowledged. */
  readonly hasHandlers: () => boolean;
  /** Runs the handlers; must not reject. */
  readonly handle: (message: PetrelMessage) => Promise<void>;
  /** Called when the position has moved, before the ack. */
  readonly positionMoved: (position: Position) => void;
}

export class MessageDelivery {
  readonly #options: MessageDeliveryOptions;
  readonly #sequence: UserSequence;
  readonly #pump: MessagePump<Pumped & Dropped>;
  readonly #acks: AckCoalescer;
  /** Ids of recalled messages. */
  readonly #recalled = new DeliveredIds(REMEMBERED_RECALLS);
  readonly #unseen = new UnseenMessages(pageIsHidden);
  #stopped = false;
  #target: Connection | undefined;
  #reported: Position | undefined;
  #repeatAck = false;

  constructor(options: MessageDeliveryOptions) {
    this.#options = options;
    this.#sequence = new UserSequence(options.position, { repeatAcrossEpochs: options.ack === "manual" });
    this.#pump = new MessagePump(() => !this.#stopped && options.hasHandlers());
    this.#acks = new AckCoalescer({
      delayMs: options.ackDelayMs,
      lingerMs: () => Math.min(options.ackGatherMs, this.#target?.ackWithinMs ?? 0),
      settle: () => this.#reportPosition(),
      send: () => this.#sendAck(),
      timersThrottled: pageIsHidden,
    });
    this.#reported = options.position;
  }

  get position(): Position | undefined {
    return this.#sequence.position;
  }

  start(): void {
    this.#stopped = false;
  }

  /** A handler was added. */
  resume(): void {
    this.#pump.resume();
  }

  /** Acks go to this connection from now on. */
  adopt(connection: Connection, welcome: WelcomeFrame): void {
    this.#target = connection;
    this.#sequence.adopt(welcome);
    this.#acks.request();
  }

  receive(connection: Connection, { id, seq, at, data }: MessageFrame): void {
    connection.highestSeq = Math.max(connection.highestSeq, seq);
    const { epoch } = connection;
    switch (this.#sequence.admit(epoch, seq, id)) {
      case "deliver":
        // (Under a new epoch, from a node that has not heard of it.)
        if (this.#recalled.has(id)) this.#pass(id, epoch, seq);
        else this.#deliver(new HandedMessage({ id, seq, epoch, at, data }, (one) => this.acknowledge(one)));
        return;
      case "pass":
        this.#pass(id, epoch, seq);
        return;
      case "seen":
        // Sent again: the ack may not have reached the server.
        this.#repeatAck = true;
        this.#acks.request();
        return;
      case "foreign":
        // From the socket being left. The new one brings the message under its new number.
        return;
    }
  }

  /**
   * A message was recalled: if it is still waiting, it is not handed over.
   * @returns undefined if this was known
   */
  recall({ epoch }: Pick<Connection, "epoch">, { id, seq }: RecalledFrame): RecalledMessage | undefined {
    if (this.#recalled.has(id)) return undefined;
    this.#recalled.add(id);
    this.#pump.replace(id, (waiting) => async () => {
      // If the application acknowledges, only its acks move the position.
      if (this.#options.ack !== "manual") this.#handled(waiting.epoch, waiting.seq);
    });
    return { id, seq, epoch };
  }

  /** The page may be visible again. */
  pageSeen(): void {
    const seen = this.#unseen.release();
    if (seen !== undefined && this.#sequence.handled(seen.epoch, seen.since)) this.#acks.request();
  }

  /**
   * For `manual`, and for messages that were seen: acknowledges up to and including this message.
   * @returns false if the message belongs to a past epoch: it will be delivered again
   */
  acknowledge({ epoch, seq }: Pick<PetrelMessage, "epoch" | "seq">): boolean {
    if (!this.#sequence.wasReceived(epoch, seq)) return false;
    if (this.#sequence.handled(epoch, seq)) this.#acks.request();
    return true;
  }

  /**
   * Stops handing over, waits for the running handler, and sends the last ack.
   * @param graceMs how long to wait for the handler; if it finishes later, its message is not acknowledged
   */
  async stop(graceMs: number): Promise<void> {
    this.#stopped = true;
    this.#sequence.rewind(this.#pump.clear());
    let timer: ReturnType<typeof setTimeout> | undefined;
    const grace = new Promise<void>((resolve) => (timer = setTimeout(resolve, graceMs)));
    await Promise.race([this.#pump.settled(), grace]);
    clearTimeout(timer);
    this.#acks.flushNow();
  }

  /** Acknowledges what has been handled so far and saves the position, now. */
  flush(): void {
    this.#acks.flushNow();
  }

  /** Moves the position past it, in its turn. */
  #pass(id: string, epoch: string, seq: number): void {
    // If the application acknowledges, only its acks move the position.
    if (this.#options.ack === "manual") return;
    // Queued after its original, so that it is not acknowledged while the original is being handled.
    this.#pump.push({
      id,
      epoch,
      seq,
      isCopy: true,
      handle: async () => {
        this.#handled(epoch, seq);
      },
    });
  }

  #deliver(message: PetrelMessage): void {
    const { id, epoch, seq } = message;
    const isManual = this.#options.ack === "manual";
    // Acks count under the newest epoch only. Messages still waiting are handed over under their new number, once.
    if (isManual) this.#pump.remove(id);
    this.#pump.push({
      id,
      epoch,
      seq,
      isCopy: false,
      handle: async () => {
        await this.#options.handle(message);
        if (!isManual) this.#handled(epoch, seq);
      },
    });
  }

  #handled(epoch: string, seq: number): void {
    if (this.#options.ack === "visible" && this.#unseen.hold(epoch, seq)) return;
    if (this.#sequence.handled(epoch, seq)) this.#acks.request();
  }

  #reportPosition(): void {
    const { position } = this.#sequence;
    if (position === undefined) return;
    if (position.epoch === this.#reported?.epoch && position.since === this.#reported.since) return;
    this.#reported = position;
    this.#options.positionMoved(position);
  }

  /** @returns whether an ack was sent */
  #sendAck(): boolean {
    const { position } = this.#sequence;
    const target = this.#target;
    if (position === undefined || this.#options.ack === "auto" || target === undefined) return false;
    // A message from the previous socket is handled now, but this socket has not carried it yet. Acking it would end
    // the connection with 4400.
    const seq = Math.min(position.since, target.highestSeq);
    const isDue = seq > target.lastAckedSeq || (this.#repeatAck && seq > 0);
    this.#repeatAck = false;
    if (!isDue || !target.send({ type: "ack", seq })) return false;
    target.lastAckedSeq = seq;
    return true;
  }
}
