// make-dashboards -> here: readers of events, webhooks, the message archive.
import { graph, quantile, query, rate, row } from "./panels.mjs";

export const events = {
  uid: "petrel-events",
  title: "Petrel: events, webhooks, archive",
  description: "Event readers, webhooks and the message archive.",
  panels: [
    row("Events"),
    graph(
      "Events kept, events dropped for age",
      "short",
      [
        query("sum(petrel_dispatch_events_kept)", "kept"),
        query("sum(increase(petrel_dispatch_events_dropped_total[$__rate_interval]))", "dropped"),
        query("sum(increase(petrel_events_gaps_total[$__rate_interval]))", "readers who missed events"),
      ],
      { description: "At most EVENTS_CAP events per partition are kept, for at most EVENTS_HOURS." },
    ),
    graph("Events read, by type", "cps", [
      query(`sum by (type) (${rate("petrel_events_read_total")})`, "{{type}}"),
    ]),
    graph("Delay from event to waiting reader", "s", [
      query(quantile(0.5, "", "petrel_event_read_lag_seconds_bucket"), "p50"),
      query(quantile(0.99, "", "petrel_event_read_lag_seconds_bucket"), "p99"),
    ]),
    graph("Waiting readers", "short", [query("sum by (kind) (petrel_event_readers)", "{{kind}}")]),
    graph(
      "Age of the oldest event kept",
      "s",
      [query("max(petrel_dispatch_oldest_event_seconds)", "oldest")],
      {
        description: "Well below EVENTS_HOURS when EVENTS_CAP drops events first.",
      },
    ),
    graph("Users who went offline", "cps", [
      query(`sum(${rate("petrel_dispatch_users_offline_total")})`, "users"),
    ]),

    row("Webhooks"),
    graph("Webhook lag", "s", [query("max by (webhook) (petrel_webhook_lag_seconds)", "{{webhook}}")]),
    graph("Attempts, by outcome", "cps", [
      query(`sum by (outcome) (${rate("petrel_webhook_attempts_total")})`, "{{outcome}}"),
    ]),
    graph(
      "Webhook backlog, events",
      "short",
      [query("sum by (webhook) (petrel_webhook_lag_events)", "{{webhook}}")],
      {
        description: "Counted up to 1,000 per partition.",
      },
    ),
    graph("Events delivered to webhooks", "cps", [
      query(`sum(${rate("petrel_webhook_events_total")})`, "events"),
    ]),
    graph("Attempt duration", "s", [
      query(quantile(0.5, "", "petrel_webhook_attempt_seconds_bucket"), "p50"),
      query(quantile(0.99, "", "petrel_webhook_attempt_seconds_bucket"), "p99"),
    ]),
    graph("Webhooks with an open breaker or paused", "short", [
      query("max by (webhook) (petrel_webhook_breaker_open)", "breaker {{webhook}}"),
      query("max by (webhook, reason) (petrel_webhook_paused)", "{{reason}} {{webhook}}"),
    ]),

    row("Message archive"),
    graph(
      "Rows, by destination",
      "cps",
      [query(`sum by (to) (${rate("petrel_archive_rows_total")})`, "{{to}}")],
      {
        description: "`spooled`: kept in Redis while the archive is unavailable. `lost`: the spool was full.",
      },
    ),
    graph("Archive lag, by partition", "s", [
      query("max by (partition) (petrel_archive_lag_seconds)", "{{partition}}"),
    ]),
    graph("Spool, by partition", "short", [
      query("max by (partition) (petrel_archive_spool_entries)", "{{partition}}"),
    ]),
    graph("Rows written by dispatchers", "cps", [
      query(`sum(${rate("petrel_archiver_updates_total")})`, "updates"),
      query(`sum by (outcome) (${rate("petrel_archiver_driven_total")})`, "{{outcome}}"),
    ]),
    graph("Failures", "short", [
      query(
        "sum(increase(petrel_archive_failures_total[$__rate_interval]))",
        "archive unavailable, seen by collect and push nodes",
      ),
      query("sum(increase(petrel_archiver_failures_total[$__rate_interval]))", "rounds of dispatch"),
    ]),
  ],
};
