// make-dashboards -> here: those who are told of what happened.
import { graph, quantile, query, rate, row } from "./panels.mjs";

export const events = {
  uid: "petrel-events",
  title: "Petrel: events, webhooks, archive",
  description: "Those who are told of what happened: readers of events, webhooks, the message archive.",
  panels: [
    row("Events"),
    graph(
      "Kept, and dropped for their age",
      "short",
      [
        query("sum(petrel_dispatch_events_kept)", "kept"),
        query("sum(increase(petrel_dispatch_events_dropped_total[$__rate_interval]))", "dropped"),
        query("sum(increase(petrel_events_gaps_total[$__rate_interval]))", "readers who missed some"),
      ],
      { description: "Kept: no more than EVENTS_CAP for each partition, and EVENTS_HOURS." },
    ),
    graph("Read, by type", "cps", [query(`sum by (type) (${rate("petrel_events_read_total")})`, "{{type}}")]),
    graph("From an event to a reader who waits", "s", [
      query(quantile(0.5, "", "petrel_event_read_lag_seconds_bucket"), "p50"),
      query(quantile(0.99, "", "petrel_event_read_lag_seconds_bucket"), "p99"),
    ]),
    graph("Readers who wait now", "short", [query("sum by (kind) (petrel_event_readers)", "{{kind}}")]),
    graph(
      "Age of the oldest event kept",
      "s",
      [query("max(petrel_dispatch_oldest_event_seconds)", "oldest")],
      {
        description: "Well below EVENTS_HOURS where EVENTS_CAP drops events first.",
      },
    ),
    graph("Users found offline", "cps", [
      query(`sum(${rate("petrel_dispatch_users_offline_total")})`, "users"),
    ]),

    row("Webhooks"),
    graph("Lag", "s", [query("max by (webhook) (petrel_webhook_lag_seconds)", "{{webhook}}")]),
    graph("Attempts, by outcome", "cps", [
      query(`sum by (outcome) (${rate("petrel_webhook_attempts_total")})`, "{{outcome}}"),
    ]),
    graph("Events behind", "short", [query("sum by (webhook) (petrel_webhook_lag_events)", "{{webhook}}")], {
      description: "Counted up to 1,000 a partition.",
    }),
    graph("Events taken", "cps", [query(`sum(${rate("petrel_webhook_events_total")})`, "events")]),
    graph("How long an attempt takes", "s", [
      query(quantile(0.5, "", "petrel_webhook_attempt_seconds_bucket"), "p50"),
      query(quantile(0.99, "", "petrel_webhook_attempt_seconds_bucket"), "p99"),
    ]),
    graph("Breakers open, paused", "short", [
      query("max by (webhook) (petrel_webhook_breaker_open)", "breaker {{webhook}}"),
      query("max by (webhook, reason) (petrel_webhook_paused)", "{{reason}} {{webhook}}"),
    ]),

    row("Message archive"),
    graph(
      "Rows on their way",
      "cps",
      [query(`sum by (to) (${rate("petrel_archive_rows_total")})`, "{{to}}")],
      {
        description: "spooled: waits in Redis while the archive is away; lost: the spool was full.",
      },
    ),
    graph("Lag, by partition", "s", [
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
      query("sum(increase(petrel_archive_failures_total[$__rate_interval]))", "stopped answering collect"),
      query("sum(increase(petrel_archiver_failures_total[$__rate_interval]))", "rounds of dispatchers"),
    ]),
  ],
};
