// The limiters -> here: how much they refused and asked, for /metrics.
// Guarantees: counting costs an addition. The limit's name is the only label, never a key, user or address.
import { Counter, type Registry } from "../../kernel/metrics/metrics.js";

const kinds = {
  refusals: "Requests that a limit refused",
  local_refusals: "Of these, requests refused without asking Redis",
  asks: "Calls to Redis about a limit",
  unanswered: "Calls that Redis did not answer in time: this process used its own count",
} as const;

type Kind = keyof typeof kinds;

/** The counts of one limit. */
export type LimitCountsOf = Record<Kind, number>;

export class LimitCounts {
  readonly #counts = new Map<string, LimitCountsOf>();

  /** The counts of one limit; increment them directly. */
  of(limit: string): LimitCountsOf {
    const known = this.#counts.get(limit);
    if (known !== undefined) return known;
    const counts: LimitCountsOf = { refusals: 0, local_refusals: 0, asks: 0, unanswered: 0 };
    this.#counts.set(limit, counts);
    return counts;
  }

  register(registry: Registry): void {
    const ofLimits = this.#counts;
    for (const [kind, help] of Object.entries(kinds) as [Kind, string][]) {
      registry.registerMetric(
        new Counter({
          name: `petrel_limit_${kind}_total`,
          help,
          labelNames: ["limit"],
          registers: [],
          collect() {
            this.reset();
            for (const [limit, counts] of ofLimits) this.inc({ limit }, counts[kind]);
          },
        }),
      );
    }
  }
}
