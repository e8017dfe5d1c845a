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

export class Liveness {
  readonly #options: LivenessOptions;
  readonly #pingTimer: ReturnType<typeof setInterval>;
  #deadline: ReturnType<typeof setTimeout> | undefined;
  #lastFrameAtMs = performance.now();

  /** Starts at once. */
  constructor(options: LivenessOptions) {
    this.#options = options;
    this.#pingTimer = setInterval(() => this.#ping(), options.pingMs);
  }

  /** Any frame of the server is a sign of life. */
  sawFrame(): void {
    this.#lastFrameAtMs = performance.now();
    clearTimeout(this.#deadline);
    this.#deadline = undefined;
  }

  /** Pings now and waits no longer than `withinMs` for anything. */
  probe(withinMs: number): void {
    this.#options.sendPing();
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.#silent(), withinMs);
  }

  stop(): void {
    clearInterval(this.#pingTimer);
    clearTimeout(this.#deadline);
  }

  #ping(): void {
    const { pingMs, sendPing } = this.#options;
    sendPing();
    if (this.#deadline !== undefined) return;
    const silentMs = performance.now() - this.#lastFrameAtMs;
    this.#deadline = setTimeout(() => this.#silent(), Math.max(pingMs, 2 * pingMs - silentMs));
  }

  #silent(): void {
    this.stop();
    this.#options.onSilence(performance.now() - this.#lastFrameAtMs);
  }
}
