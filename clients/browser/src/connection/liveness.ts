// Finds out whether the server is still there, since a page cannot see WebSocket pings.
// Guarantees: silence counts only after a ping went unanswered, so a timer that fires late (a hidden page, a laptop
// that slept) does not look like a dead server.

export interface LivenessOptions {
  /** Time between two pings. Twice this in silence ends the connection. */
  readonly pingMs: number;
  readonly sendPing: () => void;
  /** Called at most once. */
  readonly onSilence: (silentMs: number) => void;
}

/** A deadline that fires later than this means the page did not run, so frames may be waiting unread. */
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

  /** Call for every frame: each is a sign of life. */
  sawFrame(): void {
    this.#lastFrameAtMs = performance.now();
    this.#wasLate = false;
    clearTimeout(this.#deadline);
    this.#deadline = undefined;
  }

  /** Pings now and waits at most `withinMs` for any frame. */
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

  /** An earlier deadline stays, so that repeated probes cannot postpone it for ever. */
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
      // Only once: if the browser throttles timers, all of them are late.
      this.#wasLate = true;
      this.probe(LATE_MS);
      return;
    }
    this.stop();
    this.#options.onSilence(nowMs - this.#lastFrameAtMs);
  }
}
