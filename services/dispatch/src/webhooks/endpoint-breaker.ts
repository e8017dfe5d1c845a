// webhooks/webhook-lane -> here: how often an endpoint may be tried, by all partitions together.
// Guarantees: after some failures in a row, one request at a time probes whether it is back, with growing pauses; the
// first success releases all lanes at once. A Retry-After applies to all of them.
import { backoffMs } from "@petrel/shared/kernel/backoff";
import type { Clock } from "@petrel/shared/kernel/clock";

/** Failures in a row, from any partition. */
const OPENS_AFTER = 5;
const PROBE = { baseMs: 1_000, capMs: 60_000 } as const;
/** How often others check while one is probing. */
const LOOK_AGAIN_MS = 1_000;

export class EndpointBreaker {
  readonly #clock: Pick<Clock, "monotonicMs">;
  #failures = 0;
  #isProbing = false;
  #notBeforeMs = Number.NEGATIVE_INFINITY;
  #recoveries = 0;
  #era = 0;

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  /**
   * Call it with the webhook's era: a new one begins when the webhook is resumed or its URL changes, and earlier
   * failures no longer count.
   */
  follow(era: number): void {
    if (era === this.#era) return;
    this.#era = era;
    this.#failures = 0;
    this.#isProbing = false;
    this.#notBeforeMs = Number.NEGATIVE_INFINITY;
  }

  get isOpen(): boolean {
    return this.#failures >= OPENS_AFTER;
  }

  /** How often it has closed again: whoever has waited since an earlier count need not wait any longer. */
  get recoveries(): number {
    return this.#recoveries;
  }

  /** @returns ms until a request may be tried; 0 for now */
  waitMs(): number {
    if (this.isOpen && this.#isProbing) return LOOK_AGAIN_MS;
    return Math.max(0, Math.ceil(this.#notBeforeMs - this.#clock.monotonicMs()));
  }

  /**
   * Call it before a request, then `succeeded`, `failed` or `abandoned`.
   * @returns whether the request may be made now
   */
  begin(): boolean {
    if (this.waitMs() > 0) return false;
    if (this.isOpen) this.#isProbing = true;
    return true;
  }

  succeeded(): void {
    if (this.isOpen) this.#recoveries++;
    this.#failures = 0;
    this.#isProbing = false;
    this.#notBeforeMs = Number.NEGATIVE_INFINITY;
  }

  /** @param afterMs how long the endpoint wants no requests */
  failed(afterMs = 0): void {
    this.#failures++;
    this.#isProbing = false;
    const pauseMs = this.isOpen ? backoffMs(this.#failures - OPENS_AFTER, PROBE) : 0;
    const notBeforeMs = this.#clock.monotonicMs() + Math.max(afterMs, pauseMs);
    this.#notBeforeMs = Math.max(this.#notBeforeMs, notBeforeMs);
  }

  /** The process is stopping, so the result is unknown. */
  abandoned(): void {
    this.#isProbing = false;
  }
}
