// make-dashboards -> here: connections and their traffic, by node.
import { graph, nodeProcess, ofNode, quantile, query, rate, row, withNode } from "./panels.mjs";

export const pushNodes = {
  uid: "petrel-push-nodes",
  title: "Petrel: push nodes",
  description: "Connections and their traffic, by node.",
  variables: [{ name: "instance", label: "Node", query: "label_values(petrel_connections_open, instance)" }],
  panels: [
    row("Connections"),
    graph("Open, by node", "short", [query(`petrel_connections_open${ofNode}`, "{{instance}}")], {
      stack: true,
    }),
    graph("Opened", "cps", [query(rate(`petrel_connections_opened_total${ofNode}`), "{{instance}}")]),
    graph(
      "Closed, by code",
      "cps",
      [query(`sum by (code) (${rate(`petrel_connections_closed_total${ofNode}`)})`, "{{code}}")],
      {
        description:
          "1000 signed out, 1001 page left, 1006 connection lost, 1012 asked to reconnect, 4401 token expired, 4403 revoked, 4408 too slow, 4409 replaced, 4429 too many.",
      },
    ),
    graph("Handshakes refused", "cps", [
      query(rate(`petrel_handshakes_turned_away_total${ofNode}`), "503 {{instance}}"),
      query(rate(`petrel_unauthenticated_pushed_out_total${ofNode}`), "no credential {{instance}}"),
      query(rate(`petrel_sockets_cut_total${ofNode}`), "no upgrade {{instance}}"),
    ]),
    graph("Draining", "short", [
      query(`petrel_node_draining${ofNode}`, "draining {{instance}}"),
      query(
        `increase(petrel_drained_connections_total${ofNode}[$__rate_interval])`,
        "{{outcome}} {{instance}}",
      ),
    ]),
    graph("Nodes declared dead", "short", [
      query(
        "sum(increase(petrel_dispatch_gone_nodes_total[$__rate_interval]))",
        "nodes declared dead by dispatch",
      ),
    ]),

    row("Messages"),
    graph("Written to sockets", "cps", [query(rate(`petrel_messages_sent_total${ofNode}`), "{{instance}}")]),
    graph("Delivery, connected users", "s", [
      query(
        quantile(
          0.5,
          ", instance",
          `petrel_delivery_duration_seconds_bucket${withNode('presence="connected"')}`,
        ),
        "p50 {{instance}}",
      ),
      query(
        quantile(
          0.99,
          ", instance",
          `petrel_delivery_duration_seconds_bucket${withNode('presence="connected"')}`,
        ),
        "p99 {{instance}}",
      ),
    ]),
    graph(
      "Measured deliveries, by presence",
      "cps",
      [
        query(
          `sum by (presence) (${rate(`petrel_delivery_duration_seconds_count${ofNode}`)})`,
          "{{presence}}",
        ),
      ],
      { description: "`away`: accepted before this connection opened, such as a backlog." },
    ),
    graph("Final states, by node", "cps", [
      query(
        `sum by (instance, state) (${rate(`petrel_messages_ended_total${nodeProcess}`)})`,
        "{{state}} {{instance}}",
      ),
    ]),
    graph("Clients throttled to their receive rate", "cps", [
      query(rate(`petrel_receiving_paced_total${ofNode}`), "{{instance}}"),
    ]),
    graph("Refused by limits", "cps", [
      query(`sum by (limit) (${rate(`petrel_limit_refusals_total${nodeProcess}`)})`, "{{limit}}"),
    ]),

    row("Processes"),
    graph("Event-loop delay", "s", [
      query(`nodejs_eventloop_lag_p50_seconds${nodeProcess}`, "p50 {{instance}}"),
      query(`nodejs_eventloop_lag_p99_seconds${nodeProcess}`, "p99 {{instance}}"),
    ]),
    graph("CPU", "percentunit", [query(rate(`process_cpu_seconds_total${nodeProcess}`), "{{instance}}")]),
    graph("Memory per connection", "bytes", [
      query(
        `process_resident_memory_bytes${nodeProcess} / on (instance) (petrel_connections_open${ofNode} > 0)`,
        "{{instance}}",
      ),
    ]),
    graph("Garbage collection, share of time", "percentunit", [
      query(`sum by (instance) (${rate(`nodejs_gc_duration_seconds_sum${nodeProcess}`)})`, "{{instance}}"),
    ]),
    graph("Redis call duration, p99", "s", [
      query(
        quantile(0.99, ", instance", `petrel_redis_call_duration_seconds_bucket${nodeProcess}`),
        "{{instance}}",
      ),
    ]),
    graph(
      "Redis connections up",
      "short",
      [query(`petrel_redis_link_up${nodeProcess}`, "{{link}} {{instance}}")],
      {
        max: 1,
      },
    ),
  ],
};
