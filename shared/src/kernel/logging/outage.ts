// Code that depends on something that may fail for a while (Redis, an issuer's keys) -> here -> the log. Guarantees:
// one line when it begins to fail, one when the reason changes, one when it is over; at most one line a second, however
// often it is tried.
import { type Clock, systemClock } from "../clock.js";
import type { Logger } from "./logging.js";

export interface OutageOptions {
  readonly logger: Pick<Logger, "warn" | "info">;
  /** `failing` is logged when the outage begins or its reason changes, `over` when it ends. */
  readonly failing: string;
  readonly over: string;
  /** Added to each line. */
  readonly fields?: Readonly<Record<string, unknown>>;
  readonly clock?: Clock;
}

const LEAST_BETWEEN_MS = 1_000;

export class Outage {
  readonly #options: OutageOptions;
  readonly #clock: Clock;
  #reason: string | undefined;
  #said: string | undefined;
  #saidAtMs = Number.NEGATIVE_INFINITY;
  #failures = 0;

  constructor(options: OutageOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Why it last failed; undefined while it works. */
  get reason(): string | undefined {
    return this.#reason;
  }

  fail(reason: string): void {
    this.#reason = reason;
    this.#failures++;
    if (reason === this.#said) return;
    const nowMs = this.#clock.monotonicMs();
    if (this.#said !== undefined && nowMs - this.#saidAtMs < LEAST_BETWEEN_MS) return;
    this.#said = reason;
    this.#saidAtMs = nowMs;
    const { logger, fields, failing } = this.#options;
    logger.warn({ ...fields, reason }, failing);
  }

  end(): void {
    if (this.#reason === undefined) return;
    const { logger, fields, over } = this.#options;
    logger.info({ ...fields, failures: this.#failures }, over);
    this.#reason = undefined;
    this.#said = undefined;
    this.#failures = 0;
  }
}
