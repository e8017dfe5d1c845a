// Every limiter -> here -> whoever answers the client: what a limit said.
// Guarantees: a refusal says when a retry makes sense; what was refused was not counted.

export type LimitDecision =
  | {
      readonly allowed: true;
      /** 0: there is none. */
      readonly limit: number;
      /** At least so much was free when it was last counted. */
      readonly remaining: number;
      /** In how long all is free again if nothing more is taken, ms. */
      readonly resetMs: number;
    }
  | {
      readonly allowed: false;
      readonly limit: number;
      readonly remaining: 0;
      /** Infinity where it is more than the limit: no retry will help. */
      readonly retryAfterMs: number;
    };
