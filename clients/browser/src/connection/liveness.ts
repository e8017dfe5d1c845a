// Finds out whether the server is still there: browsers cannot see the protocol's own pings.
// Guarantees: silence is judged only after a ping went unanswered, so a timer that fires late (a hidden page,
// a laptop that slept) is not taken for a dead server.

export interface LivenessOptions {
  /** Between two pings; twice this in silence is the end. */
  readonly pingMs: number;
  readonly sendPing: () => void;
  /** Called at most once. */
  readonly onSilence: (silentMs: number) => void;
}

/** A deadline that fires later than this did so because nothing ran: what has come meanwhile is not read yet. */
const LATE_MS = 1_000;

export class Liveness {
  readonly #options: LivenessOptions;
  readonly #pingTimer: ReturnType<typeof setInterval>;
  #deadline: ReturnType<typeof setTimeout> | undefined;
  #deadlineAtMs = 0;
  #wasLate = false;
  #lastFrameAtMs = performance.now();

  /** Starts at once. */
  constructor(options: LivenessOptions) {
    this.#options = options;
    this.#pingTimer = setInterval(() => this.#ping(), options.pingMs);
  }

  /** Any frame of the server is a sign of life. */
  sawFrame(): void {
    this.#lastFrameAtMs = performance.now();
    this.#wasLate = false;
    clearTimeout(this.#deadline);
    this.#deadline = undefined;
  }

  /** Pings now and waits no longer than `withinMs` for anything. */
  probe(withinMs: number): void {
    this.#options.sendPing();
    this.#expectWithin(withinMs);
  }

  stop(): void {
    clearInterval(this.#pingTimer);
    clearTimeout(this.#deadline);
  }

  #ping(): void {
    const { pingMs, sendPing } = this.#options;
    sendPing();
    const silentMs = performance.now() - this.#lastFrameAtMs;
    this.#expectWithin(Math.max(pingMs, 2 * pingMs - silentMs));
  }

  /** An earlier deadline stays: a page that is looked at again and again still finds out. */
  #expectWithin(ms: number): void {
    const atMs = performance.now() + ms;
    if (this.#deadline !== undefined && this.#deadlineAtMs <= atMs) return;
    clearTimeout(this.#deadline);
    this.#deadlineAtMs = atMs;
    this.#deadline = setTimeout(() => this.#due(), ms);
  }

  #due(): void {
    this.#deadline = undefined;
    const nowMs = performance.now();
    if (!this.#wasLate && nowMs - this.#deadlineAtMs > LATE_MS) {
      // Once only: where timers are throttled, all of them are late.
      this.#wasLate = true;
      this.probe(LATE_MS);
      return;
    }
    this.stop();
    this.#options.onSilence(nowMs - this.#lastFrameAtMs);
  }
}
