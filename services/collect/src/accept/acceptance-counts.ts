// Counts the outcomes of the messages that collect tried to store.
// Guarantees: a count costs one addition; the registry sums up at the scrape.
import { Counter, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import { BROADCAST_TOPIC } from "@petrel/shared/protocol/topics/topic-name";
import type { Acceptance } from "./acceptance.js";
import { isForTopic, type MessageToStore } from "./store-message.js";

type Outcome =
  | "stored"
  | "duplicate"
  | "mismatch"
  | "inbox_full"
  | "schedules_full"
  | "limited"
  | "unavailable";
/** A topic has no inbox, and no limit on what it gets. */
type TopicOutcome = Exclude<Outcome, "inbox_full" | "limited">;

export class AcceptanceCounts {
  /** Of all messages. */
  readonly #counts: Record<Outcome, number> = {
    stored: 0,
    duplicate: 0,
    mismatch: 0,
    inbox_full: 0,
    schedules_full: 0,
    limited: 0,
    unavailable: 0,
  };
  /** Of messages for a topic, or for all. */
  readonly #published = {
    topic: { stored: 0, duplicate: 0, mismatch: 0, schedules_full: 0, unavailable: 0 },
    all: { stored: 0, duplicate: 0, mismatch: 0, schedules_full: 0, unavailable: 0 },
  } satisfies Record<string, Record<TopicOutcome, number>>;

  count(acceptance: Acceptance, message: MessageToStore | undefined): void {
    const outcome = outcomeOf(acceptance);
    this.#counts[outcome]++;
    if (message === undefined || !isForTopic(message)) return;
    if (outcome === "inbox_full" || outcome === "limited") return;
    this.#published[message.topic === BROADCAST_TOPIC ? "all" : "topic"][outcome]++;
  }

  register(registry: Registry): void {
    this.#registerPublished(registry);
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

  #registerPublished(registry: Registry): void {
    const published = this.#published;
    const counter = new Counter({
      name: "petrel_collect_published_messages_total",
      help: "Of these messages, those to a topic or to everyone, by outcome",
      labelNames: ["to", "outcome"],
      registers: [],
      collect() {
        this.reset();
        for (const [to, counts] of Object.entries(published))
          for (const [outcome, count] of Object.entries(counts)) this.inc({ to, outcome }, count);
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
    case "schedules-full":
      return "schedules_full";
    default:
      return acceptance.outcome;
  }
}
