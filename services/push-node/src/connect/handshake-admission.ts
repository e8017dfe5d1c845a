// push-node/connect/connect-route -> here: limits the rate of handshakes.
// Guarantees: never more than the burst and the rate allow, by a monotonic clock. Beyond that, a bounded number wait
// for a bounded time; the rest are refused at once, with retry times that spread them out. Turns and waiting slots are
// shared by address: each address gets its share, however many handshakes come from elsewhere, with whatever tokens.
import { AddressCounts } from "@petrel/shared/kernel/limits/address-counts";
import type { Clock } from "@petrel/shared/kernel/clock";

export interface HandshakeAdmissionOptions {
  readonly clock: Clock;
  readonly perSecond: number;
  /** How many may be admitted at once; by default 50 ms' worth. */
  readonly burst?: number;
  /** How long a handshake may wait for its turn; 0: none waits. */
  readonly maxWaitMs: number;
  /** Uniform in [0, 1); tests pass their own. */
  readonly random?: () => number;
}

export interface WaitingHandshake {
  /** Its share is counted by this. */
  readonly address: string;
  /** Whether its socket is gone; then it takes no turn. */
  readonly isGone: () => boolean;
  readonly admit: () => void;
  readonly refuse: (retryAfterSeconds: number) => void;
}

/**
 * Turns are given in steps of this. Handshakes admitted together register in one call for each partition and share
 * wake-ups: with 5 ms a connection cost a third more. Must be shorter than the burst, or turns would be lost.
 */
const TICK_MS = 40;
/** Admitted per turn of the event loop, so that existing connections get theirs. An upgrade takes about 0.2 ms. */
const PER_LOOP_TURN = 12;
const MIN_SPREAD_SECONDS = 3;
const MAX_SPREAD_SECONDS = 30;

export class HandshakeAdmission {
  readonly #clock: Clock;
  readonly #perMs: number;
  readonly #burst: number;
  readonly #maxWaiting: number;
  readonly #random: () => number;
  /** By address, each in its order; the addresses in the order of their turns. */
  readonly #waiting = new Map<string, WaitingHandshake[]>();
  readonly #counts = new AddressCounts();
  #waitingCount = 0;
  #tokens: number;
  #filledAtMs: number;
  /** An estimate of the refused clients that will return. */
  #turnedAway = 0;
  #turnedAwayAtMs: number;
  /** When the last client that was told to return should be back. */
  #expectedUntilMs = Number.NEGATIVE_INFINITY;
  /** A timer is running, or an immediate is due. */
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
    return this.#waitingCount;
  }

  /** Whether handshakes are waiting, or clients are still to return at the time they were told. */
  get isCrowded(): boolean {
    return this.#waitingCount > 0 || this.#clock.monotonicMs() < this.#expectedUntilMs;
  }

  /** Calls exactly one of its functions, now or when its turn has come. */
  enter(handshake: WaitingHandshake): void {
    if (this.#waitingCount === 0 && this.#take()) {
      handshake.admit();
      return;
    }
    if (this.#waitingCount >= this.#maxWaiting) {
      const replaced = this.#takeSlotFor(handshake.address);
      // A client that is gone needs no refusal.
      if (replaced?.isGone() !== true) (replaced ?? handshake).refuse(this.#retryAfterSeconds());
      if (replaced === undefined) return;
    }
    const queue = this.#waiting.get(handshake.address);
    if (queue === undefined) this.#waiting.set(handshake.address, [handshake]);
    else queue.push(handshake);
    this.#counts.add(handshake.address);
    this.#waitingCount++;
    this.#wakeLater();
  }

  /** Refuses all that wait; called at the stop. */
  refuseAll(): void {
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      if (!next.isGone()) next.refuse(this.#retryAfterSeconds());
    }
  }

  /**
   * The last handshake of the address with the most gives up its slot, if that address would still have more than the
   * newcomer's.
   * @returns undefined if the newcomer's own address has the most
   */
  #takeSlotFor(address: string): WaitingHandshake | undefined {
    const largest = this.#counts.largest();
    if (largest === undefined || this.#counts.of(largest) <= this.#counts.of(address) + 1) return undefined;
    const last = this.#waiting.get(largest)?.pop();
    if (last !== undefined) this.#left(last);
    return last;
  }

  /** The first handshake of the address whose turn it is; that address moves to the end. */
  #next(): WaitingHandshake | undefined {
    const [first] = this.#waiting;
    if (first === undefined) return undefined;
    const [address, queue] = first;
    const next = queue.shift();
    this.#waiting.delete(address);
    if (queue.length > 0) this.#waiting.set(address, queue);
    if (next !== undefined) this.#left(next);
    return next;
  }

  #left({ address }: WaitingHandshake): void {
    this.#counts.remove(address);
    this.#waitingCount--;
  }

  #admitSome(): void {
    for (let admitted = 0; admitted < PER_LOOP_TURN && this.#waitingCount > 0;) {
      if (!this.#take()) break;
      const next = this.#next();
      if (next?.isGone() === true) {
        // Give its turn back.
        this.#tokens++;
        continue;
      }
      next?.admit();
      admitted++;
    }
    if (this.#waitingCount > 0) this.#wakeLater();
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

  /** Uniform over the time that it takes to admit the refused clients, so that they return as they can be served. */
  #retryAfterSeconds(): number {
    const nowMs = this.#clock.monotonicMs();
    const servedSince = (nowMs - this.#turnedAwayAtMs) * this.#perMs;
    this.#turnedAway = Math.max(0, this.#turnedAway - servedSince) + 1;
    this.#turnedAwayAtMs = nowMs;
    const crowdSeconds = Math.ceil(this.#turnedAway / this.#perMs / 1000);
    const spread = Math.min(MAX_SPREAD_SECONDS, Math.max(MIN_SPREAD_SECONDS, crowdSeconds));
    // Longer than that, because browsers cannot read it and back off by themselves.
    this.#expectedUntilMs = Math.max(this.#expectedUntilMs, nowMs + (2 + 2 * spread) * 1_000);
    return 1 + Math.floor(this.#random() * spread);
  }
}
