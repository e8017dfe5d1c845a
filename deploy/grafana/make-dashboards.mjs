// Makes deploy/grafana/dashboards/*.json; `npm run format` then sets them as it likes. `--check` writes nothing and ends
// with 1 where a file says something else.
// Guarantees: the same files from the same text; a panel is a title, a unit and its queries, and the grid follows.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const datasource = { type: "prometheus", uid: "petrel-prometheus" };
const COLUMNS = 24;

/** @param {string} expr @param {string} legendFormat */
const query = (expr, legendFormat = "") => ({ expr, legendFormat });

const row = (title) => ({ row: title });
const stat = (title, unit, expr, { thresholds = [], description = "" } = {}) => ({
  kind: "stat",
  title,
  unit,
  description,
  thresholds,
  width: 4,
  height: 4,
  targets: [query(expr)],
});
const graph = (
  title,
  unit,
  targets,
  { description = "", stack = false, bars = false, max, width = 8 } = {},
) => ({
  kind: "timeseries",
  title,
  unit,
  description,
  stack,
  bars,
  max,
  width,
  height: 8,
  targets,
});

const rate = (selector) => `rate(${selector}[$__rate_interval])`;
const quantile = (q, by, selector) => `histogram_quantile(${q}, sum by (le${by}) (${rate(selector)}))`;
const red = (value) => [
  { color: "green", value: null },
  { color: "red", value },
];

const overview = {
  uid: "petrel-overview",
  title: "Petrel: overview",
  description: "What comes in, what becomes of it, and whether somebody looks after it.",
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
      description: "Neither acknowledged nor given to the fallback, among the users to be looked at next.",
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
        description: "Of those pushed or failed some are delivered later, and count twice.",
      },
    ),
    graph("Written to sockets", "cps", [query(`sum(${rate("petrel_messages_sent_total")})`, "messages")], {
      description: "Each to every connection of its user; more than are accepted where users have several.",
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
    graph("Later than the objective", "percentunit", [
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
    graph("Waiting to be handed over, by partition", "short", [
      query("max by (partition) (petrel_dispatch_ready_length)", "{{partition}}"),
    ]),
    graph("Age of what waits to be handed over", "s", [
      query("max by (partition) (petrel_dispatch_ready_oldest_seconds)", "{{partition}}"),
    ]),
    graph("Users with something unacknowledged", "short", [
      query("max by (partition) (petrel_dispatch_due_users)", "{{partition}}"),
    ]),
    graph(
      "Wakes, by outcome",
      "cps",
      [query(`sum by (outcome) (${rate("petrel_dispatch_wakes_total")})`, "{{outcome}}")],
      { description: "`nudged` are the nudges: users who are there and did not acknowledge in time." },
    ),
    graph("Offered to the fallback, hanging, expired", "cps", [
      query(`sum(${rate("petrel_dispatch_offered_total")})`, "offered"),
      query(`sum by (reason) (${rate("petrel_dispatch_hanging_users_total")})`, "hanging: {{reason}}"),
      query(`sum(${rate('petrel_messages_ended_total{state="expired"}')})`, "expired"),
    ]),
    graph("Scheduled messages, by partition", "short", [
      query("max by (partition) (petrel_scheduled_messages)", "{{partition}}"),
    ]),
    graph("Lateness of scheduled messages", "s", [
      query(
        `histogram_quantile(0.99, sum by (le) (${rate("petrel_schedule_lateness_seconds_bucket")}))`,
        "p99 of what was promoted",
      ),
      query("max(petrel_schedule_lag_seconds)", "waits"),
    ]),
    graph(
      "Events: kept, and dropped for their age",
      "short",
      [
        query("sum(petrel_dispatch_events_kept)", "kept"),
        query("sum(increase(petrel_dispatch_events_dropped_total[$__rate_interval]))", "dropped"),
        query("sum(increase(petrel_events_gaps_total[$__rate_interval]))", "readers who missed some"),
      ],
      { description: "Kept: no more than EVENTS_CAP for each partition, and EVENTS_HOURS." },
    ),
    graph("Events: read, by type", "cps", [
      query(`sum by (type) (${rate("petrel_events_read_total")})`, "{{type}}"),
    ]),
    graph("Webhooks: lag", "s", [query("max by (webhook) (petrel_webhook_lag_seconds)", "{{webhook}}")]),
    graph("Webhooks: attempts, by outcome", "cps", [
      query(`sum by (outcome) (${rate("petrel_webhook_attempts_total")})`, "{{outcome}}"),
    ]),
    graph("Partitions, by owner", "short", [
      query("sum by (instance) (petrel_dispatch_partitions_owned)", "{{instance}}"),
      query(`sum(increase(petrel_dispatch_lease_losses_total[$__rate_interval]))`, "leases lost"),
    ]),

    row("Redis and processes"),
    graph("Redis, p99 of a call", "s", [
      query(
        quantile(0.99, ", component, link", "petrel_redis_call_duration_seconds_bucket"),
        "{{component}} {{link}}",
      ),
    ]),
    graph("Redis, calls that failed", "cps", [
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
        description: "Processes of each release: two side by side during a deploy.",
      },
    ),
  ],
};

const ofNode = '{instance=~"$instance"}';
const withNode = (labels) => `{${labels},instance=~"$instance"}`;
const nodeProcess = withNode('component="push-node"');

const pushNodes = {
  uid: "petrel-push-nodes",
  title: "Petrel: push nodes",
  description: "Connections and what goes over them, node by node.",
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
          "1000 signed out, 1001 page left, 1006 cut, 1012 asked to move, 4401 token over, 4403 revoked, 4408 too slow, 4409 replaced, 4429 too many.",
      },
    ),
    graph("Handshakes turned away", "cps", [
      query(rate(`petrel_handshakes_turned_away_total${ofNode}`), "503 {{instance}}"),
      query(rate(`petrel_unauthenticated_pushed_out_total${ofNode}`), "without credential {{instance}}"),
      query(rate(`petrel_sockets_cut_total${ofNode}`), "without upgrade {{instance}}"),
    ]),
    graph("Stopping", "short", [
      query(`petrel_node_draining${ofNode}`, "stopping {{instance}}"),
      query(
        `increase(petrel_drained_connections_total${ofNode}[$__rate_interval])`,
        "{{outcome}} {{instance}}",
      ),
    ]),
    graph("Lost, by a dispatcher's word", "short", [
      query(
        "sum(increase(petrel_dispatch_gone_nodes_total[$__rate_interval]))",
        "times a node was found gone",
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
      "Measured, by presence",
      "cps",
      [
        query(
          `sum by (presence) (${rate(`petrel_delivery_duration_seconds_count${ofNode}`)})`,
          "{{presence}}",
        ),
      ],
      { description: "`away`: accepted before this connection was there, such as a backlog." },
    ),
    graph("Ended here", "cps", [
      query(
        `sum by (instance, state) (${rate(`petrel_messages_ended_total${nodeProcess}`)})`,
        "{{state}} {{instance}}",
      ),
    ]),
    graph("Held back by their pace", "cps", [
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
    graph("Memory for each connection", "bytes", [
      query(
        `process_resident_memory_bytes${nodeProcess} / on (instance) (petrel_connections_open${ofNode} > 0)`,
        "{{instance}}",
      ),
    ]),
    graph("Garbage collection, share of time", "percentunit", [
      query(`sum by (instance) (${rate(`nodejs_gc_duration_seconds_sum${nodeProcess}`)})`, "{{instance}}"),
    ]),
    graph("Redis, p99 of a call", "s", [
      query(
        quantile(0.99, ", instance", `petrel_redis_call_duration_seconds_bucket${nodeProcess}`),
        "{{instance}}",
      ),
    ]),
    graph("Links to Redis", "short", [query(`petrel_redis_link_up${nodeProcess}`, "{{link}} {{instance}}")], {
      max: 1,
    }),
  ],
};

const fallback = {
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

const topics = {
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

function panelOf(panel, id, gridPos) {
  if ("row" in panel) return { id, type: "row", title: panel.row, collapsed: false, gridPos, panels: [] };
  const { kind, title, description, unit, targets, thresholds = [], stack, bars, max } = panel;
  const isStat = kind === "stat";
  return {
    id,
    type: kind,
    title,
    ...(description === "" ? {} : { description }),
    datasource,
    gridPos,
    targets: targets.map((target, i) => ({
      refId: String.fromCharCode(65 + i),
      datasource,
      ...target,
      ...(isStat ? { instant: true, range: false } : { range: true }),
    })),
    fieldConfig: {
      defaults: {
        unit,
        min: 0,
        ...(max === undefined ? {} : { max }),
        ...(thresholds.length === 0
          ? {
              color: {
                mode: isStat ? "fixed" : "palette-classic",
                ...(isStat ? { fixedColor: "blue" } : {}),
              },
            }
          : { color: { mode: "thresholds" }, thresholds: { mode: "absolute", steps: thresholds } }),
        ...(isStat
          ? {}
          : {
              custom: {
                drawStyle: bars ? "bars" : "line",
                fillOpacity: bars ? 80 : 10,
                lineWidth: 1,
                showPoints: "never",
                spanNulls: false,
                stacking: { mode: stack ? "normal" : "none" },
              },
            }),
      },
      overrides: [],
    },
    options: isStat
      ? {
          reduceOptions: { calcs: ["lastNotNull"], fields: "", values: false },
          colorMode: "value",
          graphMode: "none",
        }
      : {
          legend: { displayMode: "list", placement: "bottom", showLegend: true },
          tooltip: { mode: "multi", sort: "desc" },
        },
  };
}

function dashboardOf({ uid, title, description, variables = [], panels }) {
  let [x, y, lineHeight] = [0, 0, 0];
  const placed = panels.map((panel, i) => {
    const { width: w, height: h } = "row" in panel ? { width: COLUMNS, height: 1 } : panel;
    if (x + w > COLUMNS) [x, y, lineHeight] = [0, y + lineHeight, 0];
    const gridPos = { x, y, w, h };
    x += w;
    lineHeight = Math.max(lineHeight, h);
    return panelOf(panel, i + 1, gridPos);
  });
  return {
    uid,
    title,
    description,
    tags: ["petrel"],
    schemaVersion: 39,
    version: 1,
    editable: true,
    graphTooltip: 1,
    refresh: "30s",
    time: { from: "now-3h", to: "now" },
    timezone: "",
    links: [
      {
        type: "dashboards",
        title: "Petrel",
        tags: ["petrel"],
        asDropdown: true,
        includeVars: false,
        keepTime: true,
      },
    ],
    annotations: {
      list: [
        {
          name: "Alerts",
          datasource,
          enable: true,
          expr: 'ALERTS{alertname=~"Petrel.*",alertstate="firing"}',
          iconColor: "red",
          titleFormat: "{{alertname}}",
        },
      ],
    },
    templating: {
      list: variables.map(({ name, label, query: text }) => ({
        name,
        label,
        type: "query",
        datasource,
        definition: text,
        query: { query: text, refId: name },
        includeAll: true,
        multi: true,
        allValue: ".*",
        current: { selected: true, text: "All", value: "$__all" },
        refresh: 2,
        sort: 1,
      })),
    },
    panels: placed,
  };
}

const isCheck = process.argv.includes("--check");
let stale = 0;
for (const dashboard of [overview, pushNodes, topics, fallback]) {
  const file = fileURLToPath(new URL(`dashboards/${dashboard.uid}.json`, import.meta.url));
  const made = dashboardOf(dashboard);
  if (!isCheck) writeFileSync(file, `${JSON.stringify(made, undefined, 2)}\n`);
  else if (
    !existsSync(file) ||
    JSON.stringify(JSON.parse(readFileSync(file, "utf8"))) !== JSON.stringify(made)
  ) {
    process.stderr.write(`${file} is not what make-dashboards.mjs makes: run it\n`);
    stale++;
  }
}
process.exitCode = stale === 0 ? 0 : 1;
