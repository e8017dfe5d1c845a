// push-node/deliver/{deliver, catch-up} -> here: how many messages a connection may be sent now.
// Guarantees: at most a burst at once, then the rate. A waiting connection has one timer and wakes for several messages
// together. A check costs a comparison.
import type { Clock } from "@petrel/shared/kernel/clock";
import { pause } from "@petrel/shared/kernel/pause";
import type { Connection } from "../connection/connection.js";

export interface ReceivePaceOptions {
  readonly clock: Pick<Clock, "monotonicMs">;
  /** The long-run rate of messages per second and connection; 0 means no limit. */
  readonly perSecond: number;
  /** The burst, as time at that rate. */
  readonly burstMs?: number;
  /** A connection began to wait. */
  readonly onPaced?: () => void;
}

type Paced = Pick<Connection, "pacedUntilMs" | "isOpen">;

const BURST_MS = 10_000;
/**
 * A waiting connection waits for at least this much of its rate: reading a page for each message would cost too much.
 */
const LINGER_MS = 100;

/**
 * The generic cell rate algorithm (ITU-T I.371): per connection one time up to which its messages use up the rate; it
 * may lie ahead by the burst.
 */
export class ReceivePace {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #perMessageMs: number;
  readonly #aheadMs: number;
  readonly #batch: number;
  readonly #onPaced: () => void;

  constructor({ clock, perSecond, burstMs = BURST_MS, onPaced }: ReceivePaceOptions) {
    this.#clock = clock;
    this.#perMessageMs = perSecond === 0 ? 0 : 1_000 / perSecond;
    this.#aheadMs = perSecond === 0 ? Number.POSITIVE_INFINITY : Math.max(burstMs, this.#perMessageMs);
    const most = perSecond === 0 ? 1 : Math.floor(this.#aheadMs / this.#perMessageMs);
    this.#batch = Math.max(1, Math.min(most, Math.floor((perSecond * LINGER_MS) / 1_000)));
    this.#onPaced = onPaced ?? (() => undefined);
  }

  /** The time for `takeOne`, the same for all messages of a turn. */
  nowMs(): number {
    return this.#perMessageMs === 0 ? 0 : this.#clock.monotonicMs();
  }

  /** Whether one message may be sent now; if so, charges for it. */
  takeOne(connection: Paced, nowMs: number): boolean {
    const fromMs = Math.max(connection.pacedUntilMs, nowMs);
    if (fromMs + this.#perMessageMs > nowMs + this.#aheadMs) return false;
    connection.pacedUntilMs = fromMs + this.#perMessageMs;
    return true;
  }

  /** How many may be sent now; Infinity if there is no limit. */
  allowance(connection: Paced): number {
    if (this.#perMessageMs === 0) return Number.POSITIVE_INFINITY;
    const nowMs = this.#clock.monotonicMs();
    const fromMs = Math.max(connection.pacedUntilMs, nowMs);
    return Math.max(0, Math.floor((nowMs + this.#aheadMs - fromMs) / this.#perMessageMs));
  }

  /** Charges for messages that were sent within an allowance. */
  spend(connection: Paced, count: number): void {
    if (count === 0 || this.#perMessageMs === 0) return;
    const fromMs = Math.max(connection.pacedUntilMs, this.#clock.monotonicMs());
    connection.pacedUntilMs = fromMs + count * this.#perMessageMs;
  }

  /** Whether several may be sent now. */
  isReady(connection: Paced): boolean {
    return this.#perMessageMs === 0 || this.allowance(connection) >= this.#batch;
  }

  /** Resolves when several may be sent, or the connection is closed. */
  async ready(connection: Paced): Promise<void> {
    if (this.isReady(connection)) return;
    this.#onPaced();
    while (connection.isOpen && this.allowance(connection) < this.#batch) {
      const waitMs = Math.ceil((this.#batch - this.allowance(connection)) * this.#perMessageMs);
      // A second at most, whatever the rate, so that a closed connection is released.
      await pause(Math.min(waitMs, 1_000));
    }
  }
}
