// Bench, drop test: what one client was sent and what its application got.
// Guarantees: every message counts once, by its number; a replay lasts from a reconnect's `open` until all earlier
// accepted and missing messages are there.

export class DropRecorder {
  /** Messages accepted for this client so far, numbered from 0. */
  accepted = 0;
  delivered = 0;
  duplicates = 0;
  outOfOrder = 0;
  /** Frames that came again, so that the client had to notice. */
  repeated = 0;
  /** Frames whose number was not above the one before on the same connection. */
  backwards = 0;
  /** Milliseconds each replay took. */
  readonly replaysMs: number[] = [];
  /** Replays still incomplete when the connection was lost again, or at the end. */
  incomplete = 0;
  readonly #got: Uint8Array;
  #highest = -1;
  #askedUpTo = 0;
  #missing = 0;
  #openedAtMs = 0;

  /** @param messages how many this client will be sent */
  constructor(messages: number) {
    this.#got = new Uint8Array(messages);
  }

  /** A connection was made, the first or a later one. */
  opened(): void {
    this.cutOff();
    const from = this.#askedUpTo;
    this.#askedUpTo = this.accepted;
    for (let n = from; n < this.accepted; n++) if (this.#got[n] === 0) this.#missing++;
    this.#openedAtMs = performance.now();
  }

  /** The connection is lost, or the test is over. */
  cutOff(): void {
    if (this.#missing > 0) this.incomplete++;
    this.#missing = 0;
  }

  received(n: number): void {
    if (this.#got[n] !== 0) {
      this.duplicates++;
      return;
    }
    this.#got[n] = 1;
    this.delivered++;
    if (n < this.#highest) this.outOfOrder++;
    else this.#highest = n;
    if (this.#missing === 0 || n >= this.#askedUpTo) return;
    this.#missing--;
    if (this.#missing === 0) this.replaysMs.push(performance.now() - this.#openedAtMs);
  }
}
