// push-node/topics/open-topics -> here: metrics of a node's topics.
// Guarantees: low cardinality: never a topic's name.
import { DurationHistogram } from "@petrel/shared/kernel/metrics/duration-histogram";
import { Counter, Gauge, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import type { FanOutObserver } from "../fan-out/fan-out.js";
import type { RepairObserver } from "../fan-out/repair-topics.js";
import type { RecoveryOutcome } from "./topic-requests.js";

export interface TopicMetrics {
  readonly fanOut: FanOutObserver;
  readonly repair: RepairObserver;
  readonly sent: (messages: number) => void;
  readonly recovered: (outcome: RecoveryOutcome) => void;
  readonly published: (outcome: PublishOutcome) => void;
}

type PublishOutcome = "published" | "duplicate" | "refused" | "failed";

/** Values that are read at the scrape. */
export interface TopicFigures {
  readonly topics: () => number;
  readonly subscriptions: () => number;
  readonly ringBytes: () => number;
}

const BOUNDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

export function createTopicMetrics(registry: Registry, figures: TopicFigures): TopicMetrics {
  const registers = [registry];
  const gauge = (name: string, help: string, read: () => number): void => {
    const made: Gauge = new Gauge({ name, help, registers, collect: () => made.set(read()) });
  };
  gauge("petrel_topics_followed", "Topics this node listens to.", figures.topics);
  gauge(
    "petrel_topic_subscriptions",
    "Subscriptions of connections here, `$all` included.",
    figures.subscriptions,
  );
  gauge("petrel_topic_ring_bytes", "Bytes of the newest messages kept here.", figures.ringBytes);
  const deliveries = new Counter({
    name: "petrel_topic_deliveries_total",
    help: "Topic messages written to sockets.",
    registers,
  });
  const recoveries = new Counter({
    name: "petrel_topic_recoveries_total",
    help: "Subscriptions with a position, by the source of the missed messages; failed: some are missing.",
    labelNames: ["outcome"],
    registers,
  });
  for (const outcome of ["ring", "log", "failed"]) recoveries.inc({ outcome }, 0);
  const logReads = new Counter({
    name: "petrel_topic_log_reads_total",
    help: "Times a topic's log was read.",
    registers,
  });
  const repairs = new Counter({
    name: "petrel_topic_repairs_total",
    help: "Times this node had missed messages of a topic, by whether the log had all of them.",
    labelNames: ["outcome"],
    registers,
  });
  for (const outcome of ["filled", "lost"]) repairs.inc({ outcome }, 0);
  const published = new Counter({
    name: "petrel_client_publishes_total",
    help: "Messages that clients published, by outcome.",
    labelNames: ["outcome"],
    registers,
  });
  for (const outcome of ["published", "duplicate", "refused", "failed"]) published.inc({ outcome }, 0);
  const fanOut = new DurationHistogram<never>(registry, {
    name: "petrel_topic_fan_out_duration_seconds",
    help: "From a topic message's arrival on this node to the write to its last subscriber.",
    bounds: BOUNDS,
  }).series({});
  return {
    fanOut: {
      passed: (_topic, { sent, from, to, bytes }, ms) => {
        if (bytes === undefined) return;
        deliveries.inc(sent * (to - from));
        fanOut.observe(ms / 1_000);
      },
    },
    repair: { logRead: () => logReads.inc(), repaired: (outcome) => repairs.inc({ outcome }) },
    sent: (messages) => {
      if (messages > 0) deliveries.inc(messages);
    },
    recovered: (outcome) => recoveries.inc({ outcome }),
    published: (outcome) => published.inc({ outcome }),
  };
}
