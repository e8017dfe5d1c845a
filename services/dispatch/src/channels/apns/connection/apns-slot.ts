// apns-pool -> here -> open-apns-session, apns-connection: one slot of the pool, with one connection at a time.
// Guarantees: a retired connection is replaced on demand. After one that failed or lived too briefly, only with backoff
// and full jitter. A close also waits for requests on retired connections.
import { backoffMs } from "@petrel/shared/kernel/backoff";
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import { ApnsConnection, type ApnsConnectionLimits } from "./apns-connection.js";
import { openApnsSession, type ApnsEndpoint } from "./open-apns-session.js";

export interface ApnsSlotOptions {
  readonly endpoint: ApnsEndpoint;
  readonly limits: ApnsConnectionLimits;
  readonly reconnectBaseMs: number;
  readonly reconnectCapMs: number;
  readonly clock: Clock;
  readonly random: () => number;
  /** Something may be sent now, or a connection may be opened. */
  readonly onRoom: () => void;
  readonly onOpened: () => void;
  /** A connection retired. */
  readonly onLost: (why: string) => void;
  /** A connection could not be opened. */
  readonly onFailed: (why: string) => void;
}

/** A connection that lived for less than this does not reset the backoff. */
const LIVED_MS = 1_000;

export class ApnsSlot {
  readonly #options: ApnsSlotOptions;
  readonly #ending = new AbortController();
  readonly #alive = new Set<ApnsConnection>();
  #connection: ApnsConnection | undefined;
  #isOpening = false;
  #failures = 0;
  #pause: NodeJS.Timeout | undefined;
  #onIdle: (() => void) | undefined;

  constructor(options: ApnsSlotOptions) {
    this.#options = options;
  }

  /** The connection that takes new requests. */
  get connection(): ApnsConnection | undefined {
    return this.#connection;
  }

  /** On all of this slot's connections, including retired ones. */
  get inFlight(): number {
    let sum = 0;
    for (const connection of this.#alive) sum += connection.inFlight;
    return sum;
  }

  /**
   * @returns whether one is being opened now; onRoom is called when that has succeeded or failed, or when a pause is
   * over
   */
  open(): boolean {
    if (this.#ending.signal.aborted || this.#connection !== undefined) return false;
    if (!this.#isOpening && this.#pause === undefined) void this.#open();
    return this.#isOpening;
  }

  /** Waits for the requests that were sent. */
  async close(): Promise<void> {
    this.#ending.abort();
    clearTimeout(this.#pause);
    this.#connection?.retire("closing");
    if (this.#alive.size > 0 || this.#isOpening) {
      await new Promise<void>((resolve) => (this.#onIdle = resolve));
    }
  }

  async #open(): Promise<void> {
    const { endpoint, limits, clock, onOpened, onFailed, onRoom } = this.#options;
    this.#isOpening = true;
    try {
      const opened = await openApnsSession(endpoint, this.#ending.signal);
      const openedAtMs = clock.monotonicMs();
      const connection: ApnsConnection = new ApnsConnection(opened, {
        ...limits,
        clock,
        onRoom,
        onRetired: (why) => this.#onRetired(connection, openedAtMs, why),
        onClosed: () => {
          this.#alive.delete(connection);
          this.#checkIdle();
        },
      });
      this.#alive.add(connection);
      this.#connection = connection;
      this.#isOpening = false;
      onOpened();
      if (this.#ending.signal.aborted) connection.retire("closing");
    } catch (error) {
      this.#isOpening = false;
      this.#failures++;
      if (!this.#ending.signal.aborted) {
        this.#pauseNow();
        onFailed(describeError(error));
      }
    }
    this.#checkIdle();
    onRoom();
  }

  #onRetired(connection: ApnsConnection, openedAtMs: number, why: string): void {
    if (this.#connection === connection) this.#connection = undefined;
    const livedMs = this.#options.clock.monotonicMs() - openedAtMs;
    if (!connection.isProven) this.#failures++;
    else this.#failures = livedMs < LIVED_MS ? 1 : 0;
    this.#pauseNow();
    this.#options.onLost(why);
    this.#options.onRoom();
  }

  #pauseNow(): void {
    if (this.#failures === 0 || this.#ending.signal.aborted) return;
    const { reconnectBaseMs: baseMs, reconnectCapMs: capMs, random, onRoom } = this.#options;
    clearTimeout(this.#pause);
    this.#pause = setTimeout(
      () => {
        this.#pause = undefined;
        onRoom();
      },
      backoffMs(this.#failures - 1, { baseMs, capMs, random }),
    );
  }

  #checkIdle(): void {
    if (this.#alive.size === 0 && !this.#isOpening) this.#onIdle?.();
  }
}
