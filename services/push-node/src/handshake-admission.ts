// browser -> connect-route -> here: how fast handshakes are let in.
// Guarantees: never more than the burst and the rate allow, by a monotonic clock; those beyond wait in their order,
// a bounded number of them, each for a bounded time; the rest are refused at once, with moments that spread them.
import type { Clock } from "@petrel/shared/kernel/clock";

export interface HandshakeAdmissionOptions {
  readonly clock: Clock;
  readonly perSecond: number;
  /** How many may come at once; by default those of 50 ms. */
  readonly burst?: number;
  /** How long a handshake may wait for its turn; 0 for none that waits. */
  readonly maxWaitMs: number;
  /** Uniform in [0, 1); given by tests. */
  readonly random?: () => number;
}

export interface WaitingHandshake {
  /** Whether its socket is gone: it takes no place then. */
  readonly isGone: () => boolean;
  readonly admit: () => void;
  readonly refuse: (retryAfterSeconds: number) => void;
}

/** How finely turns are given: a timer for each would cost more than the wait. */
const TICK_MS = 5;
/** Let in before whoever is connected gets a turn of the event loop: an upgrade takes about half a millisecond. */
const PER_LOOP_TURN = 4;
const MIN_SPREAD_SECONDS = 3;
const MAX_SPREAD_SECONDS = 30;

export class HandshakeAdmission {
  readonly #clock: Clock;
  readonly #perMs: number;
  readonly #burst: number;
  readonly #maxWaiting: number;
  readonly #random: () => number;
  readonly #waiting: WaitingHandshake[] = [];
  #tokens: number;
  #filledAtMs: number;
  /** Those refused lately who are still to come again, as far as one can tell. */
  #turnedAway = 0;
  #turnedAwayAtMs: number;
  /** A timer runs, or the next turn of the loop is asked for. */
  #isAwaited = false;

  constructor({ clock, perSecond, burst, maxWaitMs, random = Math.random }: HandshakeAdmissionOptions) {
    this.#clock = clock;
    this.#perMs = perSecond / 1000;
    this.#burst = burst ?? Math.max(1, Math.floor(perSecond / 20));
    this.#maxWaiting = Math.floor((perSecond * maxWaitMs) / 1000);
    this.#random = random;
    this.#tokens = this.#burst;
    this.#filledAtMs = clock.monotonicMs();
    this.#turnedAwayAtMs = this.#filledAtMs;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Answers by exactly one of its functions, now or when its turn has come. */
  enter(handshake: WaitingHandshake): void {
    if (this.#waiting.length === 0 && this.#take()) {
      handshake.admit();
      return;
    }
    if (this.#waiting.length >= this.#maxWaiting) {
      handshake.refuse(this.#retryAfterSeconds());
      return;
    }
    this.#waiting.push(handshake);
    this.#wakeLater();
  }

  /** At the end: whoever waits is refused. */
  refuseAll(): void {
    for (const handshake of this.#waiting.splice(0)) {
      if (!handshake.isGone()) handshake.refuse(this.#retryAfterSeconds());
    }
  }

  #admitSome(): void {
    for (let admitted = 0; admitted < PER_LOOP_TURN;) {
      const [first] = this.#waiting;
      if (first === undefined) return;
      if (first.isGone()) {
        this.#waiting.shift();
        continue;
      }
      if (!this.#take()) break;
      this.#waiting.shift();
      first.admit();
      admitted++;
    }
    if (this.#waiting.length > 0) this.#wakeLater();
  }

  #take(): boolean {
    const nowMs = this.#clock.monotonicMs();
    this.#tokens = Math.min(this.#burst, this.#tokens + (nowMs - this.#filledAtMs) * this.#perMs);
    this.#filledAtMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }

  #wakeLater(): void {
    if (this.#isAwaited) return;
    this.#isAwaited = true;
    const wake = (): void => {
      this.#isAwaited = false;
      this.#admitSome();
    };
    if (this.#tokens >= 1) setImmediate(wake);
    else setTimeout(wake, Math.max(TICK_MS, (1 - this.#tokens) / this.#perMs));
  }

  /** Uniform over the time that those who were turned away take to be let in: they come back as they can be served. */
  #retryAfterSeconds(): number {
    const nowMs = this.#clock.monotonicMs();
    const servedSince = (nowMs - this.#turnedAwayAtMs) * this.#perMs;
    this.#turnedAway = Math.max(0, this.#turnedAway - servedSince) + 1;
    this.#turnedAwayAtMs = nowMs;
    const crowdSeconds = Math.ceil(this.#turnedAway / this.#perMs / 1000);
    const spread = Math.min(MAX_SPREAD_SECONDS, Math.max(MIN_SPREAD_SECONDS, crowdSeconds));
    return 1 + Math.floor(this.#random() * spread);
  }
}
