// make-dashboards -> here: one to many, and whether those who come back miss anything.
import { graph, ofNode, quantile, query, rate, row, withNode } from "./panels.mjs";

export const topics = {
  uid: "petrel-topics",
  title: "Petrel: topics",
  description:
    "One to many: what is published, how fast it reaches who listens, whether those who come back miss anything.",
  variables: [
    { name: "instance", label: "Node", query: "label_values(petrel_topic_subscriptions, instance)" },
  ],
  panels: [
    row("What is followed, and what it holds"),
    graph("Subscriptions", "short", [query(`petrel_topic_subscriptions${ofNode}`, "{{instance}}")], {
      stack: true,
      description: "Each topic of each connection, `$all` included: never fewer than connections.",
    }),
    graph("Topics followed", "short", [query(`petrel_topics_followed${ofNode}`, "{{instance}}")], {
      description: "A topic with subscribers on several nodes counts on each.",
    }),
    graph(
      "Newest messages kept by nodes",
      "bytes",
      [query(`petrel_topic_ring_bytes${ofNode}`, "{{instance}}")],
      {
        description:
          "TOPIC_RING_BYTES bounds it. Whoever comes back is served from here, before the log in Redis.",
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
      { description: "Of the whole cluster." },
    ),
    graph("Published, by clients", "cps", [
      query(`sum by (outcome) (${rate(`petrel_client_publishes_total${ofNode}`)})`, "{{outcome}}"),
    ]),
    graph(
      "Written to sockets",
      "cps",
      [query(rate(`petrel_topic_deliveries_total${ofNode}`), "{{instance}}")],
      {
        description: "Each message for each subscriber, replays included.",
      },
    ),
    graph(
      "Fan-out, until the last subscriber's socket",
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
        description: "From a message's arrival on the node. Above 1 s for ten minutes: an alert.",
      },
    ),
    graph("Fan-outs", "cps", [
      query(rate(`petrel_topic_fan_out_duration_seconds_count${ofNode}`), "{{instance}}"),
    ]),

    row("Whoever comes back, and what a node missed"),
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
      { max: 1, description: "The client was told to load its state anew. Above a fifth: an alert." },
    ),
    graph("Reads of logs", "cps", [query(rate(`petrel_topic_log_reads_total${ofNode}`), "{{instance}}")], {
      description: "A crowd that comes back costs at most one a topic and node.",
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
        description: "A node had missed messages. `lost`: the log had them no more: an alert.",
      },
    ),
    graph(
      "The topics' link to Redis",
      "short",
      [query(`petrel_redis_link_up${withNode('link="topics"')}`, "{{instance}}")],
      { max: 1 },
    ),

    row("Presence"),
    graph("Users in topics", "short", [query(`petrel_presence_users${ofNode}`, "{{instance}}")], {
      stack: true,
      description: "Each once a topic and node.",
    }),
    graph("Topics whose presence is asked for", "short", [
      query(`petrel_presence_topics_asked${ofNode}`, "{{instance}}"),
    ]),
    graph("Frames", "cps", [query(rate(`petrel_presence_frames_total${ofNode}`), "{{instance}}")]),
    graph("Redis: changes written, topics read", "cps", [
      query(`sum(${rate(`petrel_presence_reported_total${ofNode}`)})`, "changes written"),
      query(`sum(${rate(`petrel_presence_reads_total${ofNode}`)})`, "topics read"),
      query(`sum(${rate(`petrel_presence_report_failures_total${ofNode}`)})`, "reports that failed"),
    ]),
    graph(
      "Written anew by nodes",
      "short",
      [query(`increase(petrel_presence_rewrites_total${ofNode}[$__rate_interval])`, "{{instance}}")],
      {
        bars: true,
        description:
          "All that a node holds in a partition: at its first user, and after Redis lost something.",
      },
    ),
    graph(
      "Removed for nodes that are gone",
      "short",
      [
        query("sum(increase(petrel_dispatch_presence_removed_total[$__rate_interval]))", "users"),
        query("sum(increase(petrel_dispatch_presence_nodes_removed_total[$__rate_interval]))", "nodes"),
      ],
      { bars: true },
    ),
  ],
};
