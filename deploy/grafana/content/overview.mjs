// make-dashboards -> here: intake, outcomes, dispatch, Redis and the processes.
import { COLUMNS, graph, quantile, query, rate, red, row, stat } from "./panels.mjs";

export const overview = {
  uid: "petrel-overview",
  title: "Petrel: overview",
  description: "Intake, outcomes, dispatch, Redis and the processes themselves.",
  panels: [
    stat("Connected", "short", "sum(petrel_connections_open)"),
    stat("Accepted", "cps", `sum(${rate('petrel_collect_messages_total{outcome="stored"}')})`),
    stat("Delivered", "cps", `sum(${rate('petrel_messages_ended_total{state="delivered"}')})`),
    stat(
      "Delivery p99, connected users",
      "s",
      quantile(0.99, "", 'petrel_delivery_duration_seconds_bucket{presence="connected"}'),
      {
        thresholds: red(2.5),
        description: "From acceptance to acknowledgement; the objective is 99 % within 2.5 s.",
      },
    ),
    stat("Oldest undelivered", "s", "max(petrel_undelivered_oldest_seconds)", {
      thresholds: red(30),
      description:
        "Age of the oldest message that is neither acknowledged nor offered to the fallback, among the users due next.",
    }),
    stat(
      "Partitions without an owner",
      "short",
      "max(petrel_partitions) - (sum(petrel_dispatch_partitions_owned) or vector(0))",
      { thresholds: red(1) },
    ),

    row("Messages"),
    graph("Accepted and refused", "cps", [
      query(`sum by (outcome) (${rate("petrel_collect_messages_total")})`, "{{outcome}}"),
    ]),
    graph(
      "Ended, by state",
      "cps",
      [query(`sum by (state) (${rate("petrel_messages_ended_total")})`, "{{state}}")],
      {
        description:
          "A message that was pushed or failed can still be delivered later; it then counts twice.",
      },
    ),
    graph("Written to sockets", "cps", [query(`sum(${rate("petrel_messages_sent_total")})`, "messages")], {
      description: "One per connection: higher than Accepted when users have several connections.",
    }),
    graph("Delivery, by priority, connected users", "s", [
      query(
        quantile(0.5, ", priority", 'petrel_delivery_duration_seconds_bucket{presence="connected"}'),
        "p50 {{priority}}",
      ),
      query(
        quantile(0.99, ", priority", 'petrel_delivery_duration_seconds_bucket{presence="connected"}'),
        "p99 {{priority}}",
      ),
    ]),
    graph("Delivered later than the objective", "percentunit", [
      query("petrel:delivery_late:ratio_rate5m", "5 minutes"),
      query("petrel:delivery_late:ratio_rate1h", "1 hour"),
      query("petrel:delivery_late:ratio_rate6h", "6 hours"),
      query("vector(0.01)", "budget"),
    ]),
    graph("Oldest undelivered, by partition", "s", [
      query("max by (partition) (petrel_undelivered_oldest_seconds)", "{{partition}}"),
      query("3 * max(petrel_dispatch_ack_timeout_seconds)", "objective"),
    ]),

    row("Dispatch"),
    graph("Handover queue, by partition", "short", [
      query("max by (partition) (petrel_dispatch_ready_length)", "{{partition}}"),
    ]),
    graph("Handover queue, age of the oldest", "s", [
      query("max by (partition) (petrel_dispatch_ready_oldest_seconds)", "{{partition}}"),
    ]),
    graph("Users with unacknowledged messages", "short", [
      query("max by (partition) (petrel_dispatch_due_users)", "{{partition}}"),
    ]),
    graph(
      "Wake lag, by partition",
      "s",
      [query("max by (partition) (petrel_dispatch_wake_lag_seconds)", "{{partition}}")],
      { description: "How overdue the most overdue user is. Alerts above 30 s." },
    ),
    graph(
      "Users waiting too long",
      "percentunit",
      [
        query(
          "sum(petrel_undelivered_users_late) / (sum(petrel_undelivered_users_sampled) > 0)",
          "of users with unacknowledged messages",
        ),
        query("vector(0.01)", "budget"),
      ],
      {
        max: 1,
        description: "Share waiting longer than 3 × ACK_TIMEOUT_MS, in a sample of 32 users per partition.",
      },
    ),
    graph(
      "Wakes, by outcome",
      "cps",
      [query(`sum by (outcome) (${rate("petrel_dispatch_wakes_total")})`, "{{outcome}}")],
      { description: "`nudged`: connected users who did not acknowledge in time." },
    ),
    graph("Offered to the fallback, stuck, expired", "cps", [
      query(`sum(${rate("petrel_dispatch_offered_total")})`, "offered"),
      query(`sum by (reason) (${rate("petrel_dispatch_hanging_users_total")})`, "stuck: {{reason}}"),
      query(`sum(${rate('petrel_messages_ended_total{state="expired"}')})`, "expired"),
    ]),
    graph("Scheduled messages, by partition", "short", [
      query("max by (partition) (petrel_scheduled_messages)", "{{partition}}"),
    ]),
    graph("Lateness of scheduled messages", "s", [
      query(
        `histogram_quantile(0.99, sum by (le) (${rate("petrel_schedule_lateness_seconds_bucket")}))`,
        "p99 of promoted messages",
      ),
      query("max(petrel_schedule_lag_seconds)", "still waiting"),
    ]),
    graph("Partitions, by owner", "short", [
      query("sum by (instance) (petrel_dispatch_partitions_owned)", "{{instance}}"),
      query(`sum(increase(petrel_dispatch_lease_losses_total[$__rate_interval]))`, "leases lost"),
    ]),

    row("Redis and processes"),
    graph("Redis call duration, p99", "s", [
      query(
        quantile(0.99, ", component, link", "petrel_redis_call_duration_seconds_bucket"),
        "{{component}} {{link}}",
      ),
    ]),
    graph(
      "Redis memory, share of the limit",
      "percentunit",
      [
        query(
          "max by (server) (petrel_redis_memory_used_bytes) / max by (server) (petrel_redis_memory_max_bytes > 0)",
          "{{server}}",
        ),
        query("vector(0.75)", "ticket"),
        query("vector(0.9)", "page"),
      ],
      { max: 1, description: "At the limit, every message is refused with 503." },
    ),
    graph("Redis memory", "bytes", [
      query("max by (server) (petrel_redis_memory_used_bytes)", "used {{server}}"),
      query("max by (server) (petrel_redis_memory_max_bytes)", "limit {{server}}"),
    ]),
    graph("Redis calls that failed", "cps", [
      query(
        `sum by (component, reason) (${rate("petrel_redis_call_failures_total")})`,
        "{{component}} {{reason}}",
      ),
      query("1 - min by (component, link) (petrel_redis_link_up)", "{{component}} {{link}} down"),
    ]),
    graph("Event-loop delay, p99", "s", [
      query("max by (component, instance) (nodejs_eventloop_lag_p99_seconds)", "{{component}} {{instance}}"),
    ]),
    graph("CPU", "percentunit", [
      query(
        `sum by (component, instance) (${rate("process_cpu_seconds_total")})`,
        "{{component}} {{instance}}",
      ),
    ]),
    graph("Memory", "bytes", [
      query("sum by (component, instance) (process_resident_memory_bytes)", "{{component}} {{instance}}"),
    ]),
    graph("Refused by limits", "cps", [
      query(`sum by (component, limit) (${rate("petrel_limit_refusals_total")})`, "{{component}} {{limit}}"),
    ]),
    graph(
      "Releases",
      "short",
      [query("count by (component, version) (petrel_build_info)", "{{component}} {{version}}")],
      {
        width: COLUMNS,
        description: "Processes per release. Two releases run side by side during a deploy.",
      },
    ),
  ],
};
