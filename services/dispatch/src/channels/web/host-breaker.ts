// send-to-browser -> here: leaves a push service alone that does not answer, or has asked for it.
// Guarantees: a host that fails is not asked for a while, which doubles up to a minute; then one push looks. One that
// answers anything sensible is open again. One host says nothing of another.
import type { Clock } from "@petrel/shared/kernel/clock";

export interface HostBreakerOptions {
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly onChange?: (host: string, isOpen: boolean) => void;
}

/** So many pushes in a row that failed. */
const FAULTS = 20;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;

interface HostState {
  faults: number;
  pauseMs: number;
  closedUntilMs: number;
  /** One push is under way to look whether the host is well again. */
  isLooking: boolean;
}

export class HostBreaker {
  readonly #options: HostBreakerOptions;
  readonly #hosts = new Map<string, HostState>();

  constructor(options: HostBreakerOptions) {
    this.#options = options;
  }

  /** @returns after how long to ask again; undefined where it may be sent now */
  admit(host: string): number | undefined {
    const state = this.#hosts.get(host);
    if (state === undefined || state.faults < FAULTS) return undefined;
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs < state.closedUntilMs) return state.closedUntilMs - nowMs;
    // This one looks; the others wait for what it finds, or until it is given up.
    state.isLooking = true;
    state.closedUntilMs = nowMs + state.pauseMs;
    return undefined;
  }

  /** It answered: it takes pushes, or refuses them for what they are. */
  answered(host: string): void {
    const state = this.#hosts.get(host);
    if (state === undefined) return;
    this.#hosts.delete(host);
    if (state.faults >= FAULTS) this.#options.onChange?.(host, false);
  }

  /** It did not answer, or says that it cannot now. */
  failed(host: string): void {
    const { clock, onChange } = this.#options;
    const state = this.#hosts.get(host) ?? {
      faults: 0,
      pauseMs: FIRST_PAUSE_MS,
      closedUntilMs: 0,
      isLooking: false,
    };
    this.#hosts.set(host, state);
    state.faults++;
    if (state.faults === FAULTS) onChange?.(host, true);
    else if (!state.isLooking) return;
    else state.pauseMs = Math.min(2 * state.pauseMs, LONGEST_PAUSE_MS);
    state.isLooking = false;
    state.closedUntilMs = clock.monotonicMs() + state.pauseMs;
  }
}
