// services/* -> here: aligns rounds that are not urgent, so that an idle process wakes less often.
// Guarantees: a round starts at most one second earlier than asked, and no later; one that asks for less than a second, at
// most a tenth of one later. Waits under 900 ms are left alone.
// A loop that asks for one second each time runs once a second, even if it counts from the start of its round. All that
// wait for a tick go on in one turn of the event loop.
import { pause } from "./pause.js";

const TICK_MS = 1_000;
const LEAST_MS = 900;
/** A timer may fire early by what its turn of the event loop had lasted; nobody may meet the tick before its time. */
const MARGIN_MS = 2;

/**
 * A wake-up costs far more than the work of most rounds, so rounds that are due in the same second share one.
 * @param ms the longest the round may wait
 * @param nowMs monotonic
 * @returns the wait that ends on the shared tick
 */
export function untilCommonTick(ms: number, nowMs = performance.now()): number {
  if (!endsOnTick(ms)) return ms;
  const waitMs = Math.floor((nowMs + ms) / TICK_MS) * TICK_MS - nowMs;
  return waitMs > 0 ? waitMs : ms;
}

function endsOnTick(ms: number): boolean {
  return ms >= LEAST_MS && Number.isFinite(ms);
}

/** One for a process: a single timer wakes all that wait for a tick. */
export class CommonTicks {
  /** By tick, counted in seconds. */
  readonly #waiting = new Map<number, Set<() => void>>();
  #timer: NodeJS.Timeout | undefined;
  #armedFor = Number.POSITIVE_INFINITY;

  /** Like `pause`, but a wait of a second or more ends on the last tick before its end. */
  pause(ms: number, signal?: AbortSignal): Promise<void> {
    if (!endsOnTick(ms)) return pause(ms, signal);
    const nowMs = performance.now();
    return new Promise((resolve) => {
      if (signal?.aborted === true) return resolve();
      // Under a second there may be no tick left: then the next.
      const tick = Math.max(Math.floor(nowMs / TICK_MS) + 1, Math.floor((nowMs + ms) / TICK_MS));
      const leave = this.#wait(tick, done);
      function done(): void {
        signal?.removeEventListener("abort", done);
        leave();
        resolve();
      }
      signal?.addEventListener("abort", done, { once: true });
    });
  }

  /**
   * Like `setInterval`, on ticks.
   * @returns ends it
   */
  every(ms: number, call: () => void): () => void {
    if (!endsOnTick(ms)) {
      const timer = setInterval(call, ms);
      return () => clearInterval(timer);
    }
    const over = new AbortController();
    const run = async (): Promise<void> => {
      for (;;) {
        await this.pause(ms, over.signal);
        if (over.signal.aborted) return;
        call();
      }
    };
    void run();
    return () => over.abort();
  }

  #wait(tick: number, call: () => void): () => void {
    const waiting = this.#waiting.get(tick) ?? new Set();
    this.#waiting.set(tick, waiting.add(call));
    this.#arm(tick);
    return () => {
      waiting.delete(call);
      if (waiting.size > 0 || this.#waiting.get(tick) !== waiting) return;
      this.#waiting.delete(tick);
      // Nothing must keep a process alive that waits for nothing.
      if (this.#waiting.size === 0) this.#disarm();
    };
  }

  #arm(tick: number): void {
    if (tick >= this.#armedFor) return;
    this.#disarm();
    this.#armedFor = tick;
    this.#timer = setTimeout(() => this.#fire(), tick * TICK_MS - performance.now() + MARGIN_MS);
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#armedFor = Number.POSITIVE_INFINITY;
  }

  #fire(): void {
    this.#disarm();
    const nowMs = performance.now();
    for (const [tick, calls] of this.#waiting) {
      if (tick * TICK_MS > nowMs) continue;
      this.#waiting.delete(tick);
      for (const call of calls) call();
    }
    if (this.#waiting.size > 0) this.#arm(Math.min(...this.#waiting.keys()));
  }
}
