// push-node/presence/open-presence -> here: what a push node measures of presence in topics.
// Guarantees: low cardinality: never a topic, never a user.
import { Counter, Gauge, type Registry } from "@petrel/shared/kernel/metrics/metrics";

export interface PresenceMetrics {
  readonly reported: (users: number) => void;
  readonly begun: () => void;
  readonly failed: () => void;
  readonly read: (topics: number) => void;
  readonly told: () => void;
}

export function createPresenceMetrics(
  registry: Registry,
  held: { readonly users: () => number; readonly topicsAsked: () => number },
): PresenceMetrics {
  const registers = [registry];
  const reported = new Counter({
    name: "petrel_presence_reported_total",
    help: "Changes of users in topics written to Redis",
    registers,
  });
  const begun = new Counter({
    name: "petrel_presence_rewrites_total",
    help: "Times this node wrote everything it holds in a partition: at its start, and when Redis may have lost some of it",
    registers,
  });
  const failed = new Counter({
    name: "petrel_presence_report_failures_total",
    help: "Presence reports that failed and were retried",
    registers,
  });
  const read = new Counter({
    name: "petrel_presence_reads_total",
    help: "Topics whose presence was read for connections that asked for it",
    registers,
  });
  const told = new Counter({
    name: "petrel_presence_frames_total",
    help: "Presence frames written to sockets",
    registers,
  });
  const users: Gauge = new Gauge({
    name: "petrel_presence_users",
    help: "Users in topics through this node, counted once per topic",
    registers,
    collect: () => users.set(held.users()),
  });
  const topics: Gauge = new Gauge({
    name: "petrel_presence_topics_asked",
    help: "Topics whose presence a connection of this node asks for",
    registers,
    collect: () => topics.set(held.topicsAsked()),
  });
  return {
    reported: (count) => reported.inc(count),
    begun: () => begun.inc(),
    failed: () => failed.inc(),
    read: (count) => read.inc(count),
    told: () => told.inc(),
  };
}
