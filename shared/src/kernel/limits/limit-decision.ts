// Every limiter -> here -> the code that answers the client: what a limit decided.
// Guarantees: a refusal says when to retry; a refused request was not counted.

export type LimitDecision =
  | {
      readonly allowed: true;
      /** 0 means no limit. */
      readonly limit: number;
      /** A lower bound, as of the last count. */
      readonly remaining: number;
      /** The time until everything is free again if nothing more is taken, ms. */
      readonly resetMs: number;
    }
  | {
      readonly allowed: false;
      readonly limit: number;
      readonly remaining: 0;
      /** Infinity if the request exceeds the limit itself: no retry will help. */
      readonly retryAfterMs: number;
    };
