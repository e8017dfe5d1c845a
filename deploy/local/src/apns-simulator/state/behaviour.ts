// The APNs simulator: its behaviour towards everybody.
// Guarantees: like Apple in quiet times, until a test says otherwise; absent members stay as they were.
import type { ApnsAnswer } from "./apns-answer.js";
import type { ApnsEnvironment } from "./known-keys.js";
import { oneLess, type ScriptedAnswer } from "./simulated-devices.js";

/** Which connections an order applies to, at the moment it is given. */
export interface ConnectionTarget {
  /** How many of the open ones, the busiest first; all if absent. */
  readonly connections?: number;
}

export interface GoawayOrder extends ConnectionTarget {
  /**
   * The last stream that is still answered: the newest, so that none is lost; the middle one of those open, so that
   * half of them are refused; or none of them.
   */
  readonly lastStream?: "newest" | "middle" | "none";
}

export interface BlackholeOrder extends ConnectionTarget {
  /** The phones still get what was sent: only the answers are lost. */
  readonly delivering?: boolean;
}

export interface BehaviourChange {
  readonly latencyMs?: number;
  readonly maxConcurrentStreams?: number;
  readonly answer?: ScriptedAnswer | null;
  readonly environment?: ApnsEnvironment | null;
}

export class Behaviour {
  /** From the end of a request to its answer. */
  latencyMs = 0;
  /** For an authenticated connection; before that, it is 1. */
  maxConcurrentStreams = 1000;
  /** New connections are swallowed too. */
  swallowsNew: BlackholeOrder | undefined;
  /** For tokens without settings of their own; undefined: both. */
  environment: ApnsEnvironment | undefined;
  #answer: ScriptedAnswer | undefined;

  change({ latencyMs, maxConcurrentStreams, answer, environment }: BehaviourChange): void {
    if (latencyMs !== undefined) this.latencyMs = latencyMs;
    if (maxConcurrentStreams !== undefined) this.maxConcurrentStreams = maxConcurrentStreams;
    if (answer !== undefined) this.#answer = answer ?? undefined;
    if (environment !== undefined) this.environment = environment ?? undefined;
  }

  /** Takes the answer scripted for everybody; each request uses one up. */
  takeAnswer(): ApnsAnswer | undefined {
    const answer = this.#answer;
    if (answer !== undefined) this.#answer = oneLess(answer);
    return answer;
  }

  describe(): Readonly<Record<string, unknown>> {
    return {
      latencyMs: this.latencyMs,
      maxConcurrentStreams: this.maxConcurrentStreams,
      blackhole: this.swallowsNew !== undefined,
      environment: this.environment ?? null,
      answer: this.#answer ?? null,
    };
  }
}
