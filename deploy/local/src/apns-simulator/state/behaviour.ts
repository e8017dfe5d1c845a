// The APNs simulator: how it behaves towards all.
// Guarantees: as Apple does in quiet times, until a test says otherwise; members that are not named stay as they were.
import type { ApnsAnswer } from "./apns-answer.js";
import type { ApnsEnvironment } from "./known-keys.js";
import { oneLess, type ScriptedAnswer } from "./simulated-devices.js";

/** What happens to connections; each is told once, at the moment it is said. */
export interface ConnectionTarget {
  /** How many of those open now, the busiest first; all where it is absent. */
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
  /** Of a connection that has authenticated itself; before, it is 1. */
  maxConcurrentStreams = 1000;
  /** Connections opened now are swallowed too. */
  swallowsNew: BlackholeOrder | undefined;
  /** Of tokens of which nothing was said; undefined: both. */
  environment: ApnsEnvironment | undefined;
  #answer: ScriptedAnswer | undefined;

  change({ latencyMs, maxConcurrentStreams, answer, environment }: BehaviourChange): void {
    if (latencyMs !== undefined) this.latencyMs = latencyMs;
    if (maxConcurrentStreams !== undefined) this.maxConcurrentStreams = maxConcurrentStreams;
    if (answer !== undefined) this.#answer = answer ?? undefined;
    if (environment !== undefined) this.environment = environment ?? undefined;
  }

  /** The answer scripted for all, used up by one. */
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
