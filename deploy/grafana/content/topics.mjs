// make-dashboards -> here: topics: publishing, fan-out, recovery, presence.
import { graph, ofNode, quantile, query, rate, row, withNode } from "./panels.mjs";

export const topics = {
  uid: "petrel-topics",
  title: "Petrel: topics",
  description: "Publishing, fan-out speed, recovery of returning clients, presence.",
  variables: [
    { name: "instance", label: "Node", query: "label_values(petrel_topic_subscriptions, instance)" },
  ],
  panels: [
    row("Subscriptions"),
    graph("Subscriptions", "short", [query(`petrel_topic_subscriptions${ofNode}`, "{{instance}}")], {
      stack: true,
      description: "One per topic and connection, `$all` included: never fewer than connections.",
    }),
    graph("Topics followed", "short", [query(`petrel_topics_followed${ofNode}`, "{{instance}}")], {
      description: "A topic with subscribers on several nodes counts once per node.",
    }),
    graph(
      "Recent messages cached by nodes",
      "bytes",
      [query(`petrel_topic_ring_bytes${ofNode}`, "{{instance}}")],
      {
        description:
          "Bounded by TOPIC_RING_BYTES. Returning clients are served from here first, then from the log in Redis.",
      },
    ),

    row("Messages"),
    graph(
      "Published, by producers",
      "cps",
      [
        query(
          `sum by (to, outcome) (${rate("petrel_collect_published_messages_total")})`,
          "{{outcome}} to {{to}}",
        ),
      ],
      { description: "Whole cluster." },
    ),
    graph("Published, by clients", "cps", [
      query(`sum by (outcome) (${rate(`petrel_client_publishes_total${ofNode}`)})`, "{{outcome}}"),
    ]),
    graph(
      "Written to sockets",
      "cps",
      [query(rate(`petrel_topic_deliveries_total${ofNode}`), "{{instance}}")],
      {
        description: "One per message and subscriber, replays included.",
      },
    ),
    graph(
      "Fan-out duration, to the last subscriber's socket",
      "s",
      [
        query(
          quantile(0.5, ", instance", `petrel_topic_fan_out_duration_seconds_bucket${ofNode}`),
          "p50 {{instance}}",
        ),
        query(
          quantile(0.99, ", instance", `petrel_topic_fan_out_duration_seconds_bucket${ofNode}`),
          "p99 {{instance}}",
        ),
      ],
      {
        width: 16,
        description: "Measured from the message's arrival on the node. Alerts above 1 s for ten minutes.",
      },
    ),
    graph("Fan-outs", "cps", [
      query(rate(`petrel_topic_fan_out_duration_seconds_count${ofNode}`), "{{instance}}"),
    ]),

    row("Recovery and repair"),
    graph("Recoveries, by outcome", "cps", [
      query(`sum by (outcome) (${rate(`petrel_topic_recoveries_total${ofNode}`)})`, "{{outcome}}"),
    ]),
    graph(
      "Recoveries that failed",
      "percentunit",
      [
        query(
          `sum(${rate(`petrel_topic_recoveries_total${withNode('outcome="failed"')}`)}) / sum(${rate(`petrel_topic_recoveries_total${ofNode}`)})`,
          "failed",
        ),
      ],
      { max: 1, description: "The client was told to reload its state. Alerts above 20 %." },
    ),
    graph("Log reads", "cps", [query(rate(`petrel_topic_log_reads_total${ofNode}`), "{{instance}}")], {
      description: "A crowd of returning clients causes at most one read per topic and node.",
    }),
    graph(
      "Repairs, by outcome",
      "short",
      [
        query(
          `sum by (outcome) (increase(petrel_topic_repairs_total${ofNode}[$__rate_interval]))`,
          "{{outcome}}",
        ),
      ],
      {
        bars: true,
        stack: true,
        description: "A node had missed messages. `lost`: the log no longer held them; this alerts.",
      },
    ),
    graph(
      "Redis connection for topics, up",
      "short",
      [query(`petrel_redis_link_up${withNode('link="topics"')}`, "{{instance}}")],
      { max: 1 },
    ),

    row("Presence"),
    graph("Users in topics", "short", [query(`petrel_presence_users${ofNode}`, "{{instance}}")], {
      stack: true,
      description: "Counted once per topic and node.",
    }),
    graph("Topics with presence watchers", "short", [
      query(`petrel_presence_topics_asked${ofNode}`, "{{instance}}"),
    ]),
    graph("Frames", "cps", [query(rate(`petrel_presence_frames_total${ofNode}`), "{{instance}}")]),
    graph("Presence in Redis: changes written, topics read", "cps", [
      query(`sum(${rate(`petrel_presence_reported_total${ofNode}`)})`, "changes written"),
      query(`sum(${rate(`petrel_presence_reads_total${ofNode}`)})`, "topics read"),
      query(`sum(${rate(`petrel_presence_report_failures_total${ofNode}`)})`, "reports that failed"),
    ]),
    graph(
      "Presence rewritten by nodes",
      "short",
      [query(`increase(petrel_presence_rewrites_total${ofNode}[$__rate_interval])`, "{{instance}}")],
      {
        bars: true,
        description:
          "A node rewrites all its users in a partition: at its first user there, and after Redis lost data.",
      },
    ),
    graph(
      "Presence removed for dead nodes",
      "short",
      [
        query("sum(increase(petrel_dispatch_presence_removed_total[$__rate_interval]))", "users"),
        query("sum(increase(petrel_dispatch_presence_nodes_removed_total[$__rate_interval]))", "nodes"),
      ],
      { bars: true },
    ),
  ],
};
