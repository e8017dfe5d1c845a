// The WeChat simulator: how often an interface may be called.
// Guarantees: counts minutes and days as WeChat does, days from midnight in Beijing; a refused call does not count.

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
const BEIJING_AHEAD_MS = 8 * 60 * MINUTE_MS;

export interface QuotaLimits {
  readonly perMinute: number;
  readonly perDay: number;
}

export class CallQuota {
  limits: QuotaLimits;
  #minute = { number: -1, calls: 0 };
  #day = { number: -1, calls: 0 };

  constructor(limits: QuotaLimits) {
    this.limits = limits;
  }

  /** @returns the limit that refuses it */
  take(nowMs: number): "minute" | "day" | undefined {
    const [minute, day] = [Math.floor(nowMs / MINUTE_MS), Math.floor((nowMs + BEIJING_AHEAD_MS) / DAY_MS)];
    if (this.#minute.number !== minute) this.#minute = { number: minute, calls: 0 };
    if (this.#day.number !== day) this.#day = { number: day, calls: 0 };
    if (this.#day.calls >= this.limits.perDay) return "day";
    if (this.#minute.calls >= this.limits.perMinute) return "minute";
    this.#minute.calls++;
    this.#day.calls++;
    return undefined;
  }
}
