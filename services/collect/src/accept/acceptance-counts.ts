// Counts what became of the messages that collect tried to store.
// Guarantees: a count costs one addition; the registry collects the sums when it is scraped.
import { Counter, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import type { Acceptance } from "./acceptance.js";

type Outcome = "stored" | "duplicate" | "mismatch" | "inbox_full" | "limited" | "unavailable";

export class AcceptanceCounts {
  readonly #counts: Record<Outcome, number> = {
    stored: 0,
    duplicate: 0,
    mismatch: 0,
    inbox_full: 0,
    limited: 0,
    unavailable: 0,
  };

  count(acceptance: Acceptance): void {
    this.#counts[outcomeOf(acceptance)]++;
  }

  register(registry: Registry): void {
    const counts = this.#counts;
    const counter = new Counter({
      name: "petrel_collect_messages_total",
      help: "Messages that collect tried to store, by outcome",
      labelNames: ["outcome"],
      registers: [],
      collect() {
        this.reset();
        for (const [outcome, count] of Object.entries(counts)) this.inc({ outcome }, count);
      },
    });
    registry.registerMetric(counter);
  }
}

function outcomeOf(acceptance: Acceptance): Outcome {
  switch (acceptance.outcome) {
    case "accepted":
      return acceptance.duplicate ? "duplicate" : "stored";
    case "inbox-full":
      return "inbox_full";
    default:
      return acceptance.outcome;
  }
}
