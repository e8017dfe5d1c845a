// push-node: counts its connections and messages.
// Guarantees: low cardinality: never a user; close codes outside the contract count as "other".
import { Counter, Gauge, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import type { ConnectionRegistry } from "./connection-registry.js";

export interface ConnectionMetrics {
  readonly opened: () => void;
  readonly closed: (code: number) => void;
  readonly sent: (count: number) => void;
  readonly turnedAway: () => void;
  readonly socketCut: () => void;
  readonly pushedOut: () => void;
  readonly paced: () => void;
}

/** No status received, RFC 6455 section 7.4.1: a close frame without a code. */
const NO_STATUS = 1005;
const knownCodes: ReadonlySet<number> = new Set([...Object.values(closeCodes), NO_STATUS]);

export function createConnectionMetrics(metrics: Registry, registry: ConnectionRegistry): ConnectionMetrics {
  const opened = new Counter({
    name: "petrel_connections_opened_total",
    help: "Connections registered.",
    registers: [metrics],
  });
  const closed = new Counter({
    name: "petrel_connections_closed_total",
    help: "Sockets closed, by close code.",
    labelNames: ["code"],
    registers: [metrics],
  });
  for (const code of knownCodes) closed.inc({ code: String(code) }, 0);
  closed.inc({ code: "other" }, 0);
  const sent = new Counter({
    name: "petrel_messages_sent_total",
    help: "Messages written to sockets.",
    registers: [metrics],
  });
  const turnedAway = new Counter({
    name: "petrel_handshakes_turned_away_total",
    help: "Handshakes answered with 503: too many at a time, or the node is stopping.",
    registers: [metrics],
  });
  const socketsCut = new Counter({
    name: "petrel_sockets_cut_total",
    help: "Sockets closed to make room for others before they had sent an upgrade request.",
    registers: [metrics],
  });
  const pushedOut = new Counter({
    name: "petrel_unauthenticated_pushed_out_total",
    help: "WebSockets closed to make room for others before they had sent a good credential.",
    registers: [metrics],
  });
  const paced = new Counter({
    name: "petrel_receiving_paced_total",
    help: "Times a connection had to wait because it had reached its limit of received messages.",
    registers: [metrics],
  });
  const open: Gauge = new Gauge({
    name: "petrel_connections_open",
    help: "Connections registered now.",
    registers: [metrics],
    collect: () => open.set(registry.size),
  });
  return {
    opened: () => opened.inc(),
    // A client may close with any code from 3000 to 4999.
    closed: (code) => closed.inc({ code: knownCodes.has(code) ? String(code) : "other" }),
    sent: (count) => sent.inc(count),
    turnedAway: () => turnedAway.inc(),
    socketCut: () => socketsCut.inc(),
    pushedOut: () => pushedOut.inc(),
    paced: () => paced.inc(),
  };
}
