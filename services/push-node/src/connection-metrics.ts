// push-node: what it counts of its connections and messages.
// Guarantees: low cardinality: close codes, never users.
import { Counter, Gauge, type Registry } from "@petrel/shared/kernel/metrics";
import type { ConnectionRegistry } from "./connection-registry.js";

export interface ConnectionMetrics {
  readonly opened: () => void;
  readonly closed: (code: number) => void;
  readonly sent: (count: number) => void;
  readonly turnedAway: () => void;
}

export function createConnectionMetrics(metrics: Registry, registry: ConnectionRegistry): ConnectionMetrics {
  const opened = new Counter({
    name: "petrel_connections_opened_total",
    help: "Connections that were registered.",
    registers: [metrics],
  });
  const closed = new Counter({
    name: "petrel_connections_closed_total",
    help: "Sockets that ended, by close code.",
    labelNames: ["code"],
    registers: [metrics],
  });
  const sent = new Counter({
    name: "petrel_messages_sent_total",
    help: "Messages written to sockets.",
    registers: [metrics],
  });
  const turnedAway = new Counter({
    name: "petrel_handshakes_turned_away_total",
    help: "Handshakes that were answered with 503: too many at a time, or the node stops.",
    registers: [metrics],
  });
  const open: Gauge = new Gauge({
    name: "petrel_connections_open",
    help: "Connections that are registered now.",
    registers: [metrics],
    collect: () => open.set(registry.size),
  });
  return {
    opened: () => opened.inc(),
    closed: (code) => closed.inc({ code: String(code) }),
    sent: (count) => sent.inc(count),
    turnedAway: () => turnedAway.inc(),
  };
}
