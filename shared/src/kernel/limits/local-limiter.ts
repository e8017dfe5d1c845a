// Hooks of routes -> here: how much an address may do in a window, as this process alone sees it.
// Guarantees: never more than the limit in any window; bounded memory; no Redis call.
import { type Clock, systemClock } from "../clock.js";
import { RecentMap } from "../recent-map.js";
import { WindowRing } from "./window-ring.js";

export interface LocalLimiterOptions {
  /** The most that fits into a window; 0 means no limit. */
  readonly limit: number;
  readonly windowMs: number;
  readonly maxKeys?: number;
  readonly clock?: Clock;
}

const DEFAULT_MAX_KEYS = 10_000;

export class LocalLimiter {
  readonly limit: number;
  readonly windowMs: number;
  readonly #clock: Clock;
  readonly #rings: RecentMap<WindowRing>;

  constructor({ limit, windowMs, maxKeys = DEFAULT_MAX_KEYS, clock = systemClock }: LocalLimiterOptions) {
    this.limit = limit;
    this.windowMs = windowMs;
    this.#clock = clock;
    this.#rings = new RecentMap(maxKeys);
  }

  /** @returns 0 if it was taken; otherwise the wait in ms, and nothing was taken */
  take(key: string): number {
    if (this.limit <= 0) return 0;
    let ring = this.#rings.get(key);
    if (ring === undefined) {
      ring = new WindowRing(this.windowMs);
      this.#rings.set(key, ring);
    }
    const nowMs = this.#clock.monotonicMs();
    return ring.take(1, this.limit, nowMs) ? 0 : ring.waitMs(1, this.limit, nowMs);
  }

  /** The wait until there is room, ms; takes nothing. */
  waitMs(key: string): number {
    if (this.limit <= 0) return 0;
    return this.#rings.get(key)?.waitMs(1, this.limit, this.#clock.monotonicMs()) ?? 0;
  }
}
