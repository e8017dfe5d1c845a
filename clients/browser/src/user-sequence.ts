// Where this client is in its user's sequence: decides what is new, and what may be acknowledged.
// Guarantees: a message is admitted for delivery once; the position never moves past an unhandled message.
import { DeliveredIds } from "./delivered-ids.js";

/** What a client needs to resume: everything up to and including `since` was handled, in this epoch. */
export interface Position {
  readonly epoch: string;
  readonly since: number;
}

/**
 * `deliver`: new, hand it over · `pass`: handed over before under another epoch, only move the position past it
 * in its turn · `seen`: its number was received before in this epoch · `foreign`: of an epoch that is over
 */
export type Admission = "deliver" | "pass" | "seen" | "foreign";

/** As many as the server keeps unacknowledged for a user: all of them may come again under a new epoch. */
const REMEMBERED_IDS = 10_000;

export class UserSequence {
  readonly #ids = new DeliveredIds(REMEMBERED_IDS);
  readonly #repeatAcrossEpochs: boolean;
  #epoch: string | undefined;
  #handled: number;
  #received: number;

  /**
   * @param position where an earlier client stopped, if it is known
   * @param repeatAcrossEpochs deliver again after a change of epoch what was not acknowledged: needed where the
   *   application acknowledges, since its acks of the old epoch no longer count
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

  /** Takes over what the server says at the start of a connection. */
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
    // After a rewind, a handler that was still running can finish beyond what counts as received.
    this.#received = Math.max(this.#received, seq);
    return true;
  }

  /** Whether this number was received in the current epoch, so that it can be acknowledged. */
  wasReceived(epoch: string, seq: number): boolean {
    return epoch === this.#epoch && seq <= this.#received;
  }

  /** Forgets what was received and not handed over: the server will send it again. */
  rewind(undeliveredIds: Iterable<string>): void {
    for (const id of undeliveredIds) this.#ids.delete(id);
    this.#received = this.#handled;
  }
}
