// make-dashboards -> here: who is reached another way, and which devices are forgotten.
import { graph, quantile, query, rate, row } from "./panels.mjs";

export const fallback = {
  uid: "petrel-fallback",
  title: "Petrel: fallback and token clean-up",
  description: "What reaches users another way, how well, and which devices are forgotten on the way.",
  panels: [
    row("Volume"),
    graph("Offered, and sent by channel", "cps", [
      query(`sum(${rate("petrel_dispatch_offered_total")})`, "offered"),
      query(
        `sum by (channel) (${rate('petrel_fallback_sends_total{outcome="taken"}')})`,
        "taken by {{channel}}",
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
      { max: 1, description: "Of the attempts that found somebody to send to." },
    ),
    graph(
      "APNs: answers that are not about a token",
      "percentunit",
      [
        query(
          `sum by (environment) (${rate('petrel_apns_sends_total{result!~"taken|forget|quarantine"}')}) / sum by (environment) (${rate("petrel_apns_sends_total")})`,
          "{{environment}}",
        ),
      ],
      { max: 1, description: "Above a tenth for five minutes: an alert." },
    ),
    graph("APNs, by result and reason", "cps", [
      query(
        `sum by (environment, result, reason) (${rate("petrel_apns_sends_total")})`,
        "{{environment}} {{result}} {{reason}}",
      ),
    ]),
    graph("APNs, how long a push takes", "s", [
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
    graph("WeChat, how long a request takes, access tokens, apps that rest", "short", [
      query(quantile(0.99, ", appid", "petrel_wechat_send_seconds_bucket"), "p99 {{appid}}"),
      query(
        "sum by (appid, outcome) (increase(petrel_wechat_token_refreshes_total[$__rate_interval]))",
        "tokens {{outcome}} {{appid}}",
      ),
      query("min by (appid) (petrel_wechat_app_closed)", "closed {{appid}}"),
    ]),
    graph("Web Push: answers", "cps", [
      query(`sum by (result, status) (${rate("petrel_web_push_sends_total")})`, "{{result}} {{status}}"),
    ]),
    graph("Web Push: how long a request takes", "s", [
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

    row("What waits"),
    graph("By channel: waiting, and being sent", "short", [
      query("max by (channel) (petrel_fallback_waiting)", "waits for {{channel}}"),
      query("sum by (channel) (petrel_fallback_sending)", "being sent by {{channel}}"),
    ]),
    graph(
      "Queued, by priority",
      "short",
      [
        query("max by (priority) (petrel_fallback_queued)", "{{priority}}"),
        query("max(petrel_fallback_retries_waiting)", "wait for another attempt"),
      ],
      { description: "Of the whole cluster, whichever dispatcher is asked." },
    ),
    graph("Age of the oldest", "s", [query("max(petrel_fallback_oldest_seconds)", "oldest")]),
    graph("Taken over from workers that died", "cps", [
      query(`sum(${rate("petrel_fallback_claimed_total")})`, "claimed"),
    ]),

    row("Token clean-up"),
    graph(
      "Devices, by what became of them",
      "short",
      [
        query(
          "sum by (outcome) (increase(petrel_apns_invalidations_total[$__rate_interval]))",
          "{{outcome}}",
        ),
        query("sum(increase(petrel_dispatch_devices_swept_total[$__rate_interval]))", "not seen for long"),
      ],
      {
        bars: true,
        stack: true,
        description:
          "forgotten: Apple says they are gone; quarantined: set aside for a while; kept: registered again since; dropped: too many at once to handle.",
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
      "Devices of apps that are not configured",
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
      "New, by cause",
      "short",
      [query("sum by (cause) (increase(petrel_fallback_failed_total[$__rate_interval]))", "{{cause}}")],
      { bars: true, stack: true },
    ),
    graph("Kept, by cause", "short", [query("max by (cause) (petrel_fallback_dead_letters)", "{{cause}}")]),
    graph(
      "Had to go, by cause",
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
