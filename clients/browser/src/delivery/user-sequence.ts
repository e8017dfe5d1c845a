// Tracks this client's place in the user's sequence: decides what is new and what may be acknowledged.
// Guarantees: a message is admitted for delivery once; the position never moves past an unhandled message.
import { DeliveredIds } from "./delivered-ids.js";

/** What a client needs to resume. Everything up to and including `since` was handled, in this epoch. */
export interface Position {
  readonly epoch: string;
  readonly since: number;
}

/**
 * `deliver`: new, hand it over · `pass`: a copy, under another number, of a message that was handed over or is queued:
 * only move the position past it in its turn · `seen`: this number came before in this epoch · `foreign`: from a past
 * epoch
 */
export type Admission = "deliver" | "pass" | "seen" | "foreign";

/** A message that was admitted but not handed over. */
export interface Dropped {
  readonly id: string;
  readonly epoch: string;
  readonly seq: number;
  /** Whether it was admitted as `pass`, not `deliver`. */
  readonly isCopy: boolean;
}

/** As many unacknowledged messages as the server keeps for a user: all may come again under a new epoch. */
const REMEMBERED_IDS = 10_000;

export class UserSequence {
  readonly #ids = new DeliveredIds(REMEMBERED_IDS);
  readonly #repeatAcrossEpochs: boolean;
  #epoch: string | undefined;
  #handled: number;
  #received: number;

  /**
   * @param position where an earlier client stopped, if known
   * @param repeatAcrossEpochs after a change of epoch, deliver unacknowledged messages again: needed if the application
   *   acknowledges, since its acks of the old epoch no longer count
   */
  constructor(
    position: Position | undefined,
    { repeatAcrossEpochs }: { readonly repeatAcrossEpochs: boolean },
  ) {
    this.#repeatAcrossEpochs = repeatAcrossEpochs;
    this.#epoch = position?.epoch;
    this.#handled = position?.since ?? 0;
    this.#received = this.#handled;
  }

  get position(): Position | undefined {
    return this.#epoch === undefined ? undefined : { epoch: this.#epoch, since: this.#handled };
  }

  /** Takes over what the server says in the welcome. */
  adopt({ epoch, after, resumed }: { epoch: string; after: number; resumed: boolean }): void {
    const sameEpoch = epoch === this.#epoch;
    if (sameEpoch && resumed) return;
    if (!sameEpoch && this.#repeatAcrossEpochs) this.#ids.clear();
    this.#epoch = epoch;
    this.#handled = after;
    this.#received = after;
  }

  admit(epoch: string, seq: number, id: string): Admission {
    if (epoch !== this.#epoch) return "foreign";
    if (seq <= this.#received) return "seen";
    this.#received = seq;
    if (this.#ids.has(id)) return "pass";
    this.#ids.add(id);
    return "deliver";
  }

  /** @returns whether the position moved */
  handled(epoch: string, seq: number): boolean {
    if (epoch !== this.#epoch || seq <= this.#handled) return false;
    this.#handled = seq;
    this.#received = Math.max(this.#received, seq);
    return true;
  }

  /** Whether this number came in the current epoch, so that it can be acknowledged. */
  wasReceived(epoch: string, seq: number): boolean {
    return epoch === this.#epoch && seq <= this.#received;
  }

  /** Forgets messages that were received and will not be handed over: the server will send them again. */
  rewind(dropped: Iterable<Dropped>): void {
    for (const { id, epoch, seq, isCopy } of dropped) {
      // A copy's original was handed over, or is dropped itself.
      if (!isCopy) this.#ids.delete(id);
      if (epoch === this.#epoch) this.#received = Math.min(this.#received, seq - 1);
    }
    this.#received = Math.max(this.#received, this.#handled);
  }
}
