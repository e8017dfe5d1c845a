// send-to-browser -> here: pauses sends to a push service that does not answer, or asks for a pause.
// Guarantees: after a run of failures a host is left alone for a while, doubling up to a minute; then one push probes
// it. Any sensible answer closes the breaker again. Hosts do not affect each other.
import type { Clock } from "@petrel/shared/kernel/clock";

export interface HostBreakerOptions {
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly onChange?: (host: string, isOpen: boolean) => void;
}

/** How many pushes in a row must fail to open it. */
const FAULTS = 20;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;

interface HostState {
  faults: number;
  pauseMs: number;
  closedUntilMs: number;
  /** One push is under way to probe the host. */
  isLooking: boolean;
}

export class HostBreaker {
  readonly #options: HostBreakerOptions;
  readonly #hosts = new Map<string, HostState>();

  constructor(options: HostBreakerOptions) {
    this.#options = options;
  }

  /** @returns how long to wait, ms; undefined if it may be sent now */
  admit(host: string): number | undefined {
    const state = this.#hosts.get(host);
    if (state === undefined || state.faults < FAULTS) return undefined;
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs < state.closedUntilMs) return state.closedUntilMs - nowMs;
    // This push is the probe. The others wait for its result, or until it is given up.
    state.isLooking = true;
    state.closedUntilMs = nowMs + state.pauseMs;
    return undefined;
  }

  /** The host answered: it accepts pushes, or refuses them for a reason of their own. */
  answered(host: string): void {
    const state = this.#hosts.get(host);
    if (state === undefined) return;
    this.#hosts.delete(host);
    if (state.faults >= FAULTS) this.#options.onChange?.(host, false);
  }

  /** The host did not answer, or says that it cannot serve now. */
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
