// redis/{ack-users, expire-messages, settle-fallback, cancel-message} -> here: how many messages this process's calls
// have ended.
// Guarantees: counts by the scripts' answers, so each end counts once in the whole cluster.
import { Counter, type Registry } from "../../kernel/metrics/metrics.js";

export const countedEnds = ["delivered", "pushed", "expired", "failed", "cancelled"] as const;
export type CountedEnd = (typeof countedEnds)[number];

export class MessageEnds {
  readonly #counts: Record<CountedEnd, number> = {
    delivered: 0,
    pushed: 0,
    expired: 0,
    failed: 0,
    cancelled: 0,
  };

  count(end: CountedEnd, messages: number): void {
    this.#counts[end] += messages;
  }

  register(registry: Registry): void {
    const counts = this.#counts;
    registry.registerMetric(
      new Counter({
        name: "petrel_messages_ended_total",
        help: "Messages that reached this state; some of those pushed or failed are delivered later and count twice",
        labelNames: ["state"],
        registers: [],
        collect() {
          this.reset();
          for (const state of countedEnds) this.inc({ state }, counts[state]);
        },
      }),
    );
  }
}
