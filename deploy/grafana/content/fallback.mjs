// make-dashboards -> here: fallback channels and device clean-up.
import { graph, quantile, query, rate, row } from "./panels.mjs";

export const fallback = {
  uid: "petrel-fallback",
  title: "Petrel: fallback and token clean-up",
  description: "Fallback pushes by channel, their success, and the clean-up of devices.",
  panels: [
    row("Volume"),
    graph("Offered, and accepted by channel", "cps", [
      query(`sum(${rate("petrel_dispatch_offered_total")})`, "offered"),
      query(
        `sum by (channel) (${rate('petrel_fallback_sends_total{outcome="taken"}')})`,
        "accepted by {{channel}}",
      ),
    ]),
    graph("Attempts, by channel and outcome", "cps", [
      query(`sum by (channel, outcome) (${rate("petrel_fallback_sends_total")})`, "{{channel}} {{outcome}}"),
    ]),
    graph("Not sent, by reason", "cps", [
      query(`sum by (reason) (${rate("petrel_fallback_dropped_total")})`, "{{reason}}"),
    ]),

    row("Success"),
    graph(
      "Success, by channel",
      "percentunit",
      [
        query(
          `sum by (channel) (${rate('petrel_fallback_sends_total{outcome="taken"}')}) / sum by (channel) (${rate('petrel_fallback_sends_total{outcome=~"taken|retry|failed"}')})`,
          "{{channel}}",
        ),
      ],
      { max: 1, description: "Share of the attempts that found a device." },
    ),
    graph(
      "APNs errors that are not about a device token",
      "percentunit",
      [
        query(
          `sum by (environment) (${rate('petrel_apns_sends_total{result!~"taken|forget|quarantine"}')}) / sum by (environment) (${rate("petrel_apns_sends_total")})`,
          "{{environment}}",
        ),
      ],
      { max: 1, description: "Alerts above 10 % for five minutes." },
    ),
    graph("APNs, by result and reason", "cps", [
      query(
        `sum by (environment, result, reason) (${rate("petrel_apns_sends_total")})`,
        "{{environment}} {{result}} {{reason}}",
      ),
    ]),
    graph("APNs, push duration", "s", [
      query(quantile(0.5, ", environment", "petrel_apns_send_seconds_bucket"), "p50 {{environment}}"),
      query(quantile(0.99, ", environment", "petrel_apns_send_seconds_bucket"), "p99 {{environment}}"),
    ]),
    graph("APNs, connections and requests", "short", [
      query("sum by (environment) (petrel_apns_connections)", "connections {{environment}}"),
      query("sum by (environment) (petrel_apns_in_flight)", "in flight {{environment}}"),
      query("sum by (environment) (petrel_apns_waiting)", "waiting {{environment}}"),
      query(
        `sum by (environment, event) (increase(petrel_apns_connections_total[$__rate_interval]))`,
        "{{event}} {{environment}}",
      ),
    ]),
    graph("WeChat, by outcome and code", "cps", [
      query(
        `sum by (appid, outcome, code) (${rate("petrel_wechat_sends_total")})`,
        "{{appid}} {{outcome}} {{code}}",
      ),
    ]),
    graph("WeChat: request duration, access tokens, paused apps", "short", [
      query(quantile(0.99, ", appid", "petrel_wechat_send_seconds_bucket"), "p99 {{appid}}"),
      query(
        "sum by (appid, outcome) (increase(petrel_wechat_token_refreshes_total[$__rate_interval]))",
        "tokens {{outcome}} {{appid}}",
      ),
      query("min by (appid) (petrel_wechat_app_closed)", "paused {{appid}}"),
    ]),
    graph("Web Push, by result and status", "cps", [
      query(`sum by (result, status) (${rate("petrel_web_push_sends_total")})`, "{{result}} {{status}}"),
    ]),
    graph("Web Push, request duration", "s", [
      query(quantile(0.5, "", "petrel_web_push_send_seconds_bucket"), "p50"),
      query(quantile(0.99, "", "petrel_web_push_send_seconds_bucket"), "p99"),
    ]),
    graph(
      "Breakers open, credentials refused",
      "short",
      [
        query("max by (topic, environment) (petrel_apns_breaker_open)", "breaker {{topic}} {{environment}}"),
        query("max by (host) (petrel_web_push_breaker_open)", "breaker {{host}}"),
        query(
          "max by (credential, environment) (petrel_apns_credential_halted)",
          "refused {{credential}} {{environment}}",
        ),
      ],
      { max: 1 },
    ),

    row("Queues"),
    graph("Waiting and in flight, by channel", "short", [
      query("max by (channel) (petrel_fallback_waiting)", "waiting for {{channel}}"),
      query("sum by (channel) (petrel_fallback_sending)", "in flight on {{channel}}"),
    ]),
    graph(
      "Queued, by priority",
      "short",
      [
        query("max by (priority) (petrel_fallback_queued)", "{{priority}}"),
        query("max(petrel_fallback_retries_waiting)", "waiting for a retry"),
      ],
      { description: "Whole cluster; every dispatcher reports the same value." },
    ),
    graph("Age of the oldest queued message", "s", [query("max(petrel_fallback_oldest_seconds)", "oldest")]),
    graph("Claimed from workers that died", "cps", [
      query(`sum(${rate("petrel_fallback_claimed_total")})`, "claimed"),
    ]),

    row("Token clean-up"),
    graph(
      "Devices removed or set aside",
      "short",
      [
        query(
          "sum by (outcome) (increase(petrel_apns_invalidations_total[$__rate_interval]))",
          "{{outcome}}",
        ),
        query(
          "sum(increase(petrel_dispatch_devices_swept_total[$__rate_interval]))",
          "not seen for a long time",
        ),
      ],
      {
        bars: true,
        stack: true,
        description:
          "`forgotten`: Apple says the token is gone. `quarantined`: set aside for a while. `kept`: registered again since. `dropped`: too many at once to handle.",
      },
    ),
    graph(
      "Devices, by Apple's reason",
      "short",
      [
        query(
          'sum by (reason) (increase(petrel_apns_invalidations_total{outcome="forgotten"}[$__rate_interval]))',
          "forgotten: {{reason}}",
        ),
        query(
          'sum by (reason) (increase(petrel_apns_invalidations_total{outcome="quarantined"}[$__rate_interval]))',
          "quarantined: {{reason}}",
        ),
      ],
      { bars: true, stack: true },
    ),
    graph(
      "Devices of unconfigured apps",
      "short",
      [
        query(
          "sum by (environment) (increase(petrel_apns_no_app_total[$__rate_interval]))",
          "{{environment}}",
        ),
      ],
      { bars: true },
    ),

    row("Dead letters"),
    graph(
      "New dead letters, by cause",
      "short",
      [query("sum by (cause) (increase(petrel_fallback_failed_total[$__rate_interval]))", "{{cause}}")],
      { bars: true, stack: true },
    ),
    graph("Dead letters kept, by cause", "short", [
      query("max by (cause) (petrel_fallback_dead_letters)", "{{cause}}"),
    ]),
    graph(
      "Dead letters evicted, by cause",
      "short",
      [
        query(
          "sum by (cause) (increase(petrel_fallback_dead_letters_evicted_total[$__rate_interval]))",
          "{{cause}}",
        ),
      ],
      { bars: true },
    ),
  ],
};
