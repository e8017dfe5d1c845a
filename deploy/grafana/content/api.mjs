// make-dashboards -> here: requests by route, acceptance, sign-in.
import { graph, quantile, query, rate, row } from "./panels.mjs";

const SIGN_IN = 'component="auth",method="POST",route=~"/v1/(tokens|tokens/refresh|tickets)"';
const slowest = (q) =>
  `topk(10, ${quantile(q, ", component, route, method", "petrel_http_request_duration_seconds_bucket")})`;

export const api = {
  uid: "petrel-api",
  title: "Petrel: HTTP and sign-in",
  description: "Requests by route: rate, status and duration; error budgets of acceptance and sign-in.",
  panels: [
    row("Requests"),
    graph("By service", "reqps", [
      query(
        `sum by (component) (${rate('petrel_http_requests_total{route!~"/health/.*"}')})`,
        "{{component}}",
      ),
    ]),
    graph("By status", "reqps", [
      query(
        `sum by (component, status) (${rate('petrel_http_requests_total{route!~"/health/.*"}')})`,
        "{{component}} {{status}}",
      ),
    ]),
    graph("By route", "reqps", [
      query(
        `topk(10, sum by (component, method, route) (${rate('petrel_http_requests_total{route!~"/health/.*"}')}))`,
        "{{component}} {{method}} {{route}}",
      ),
    ]),
    graph(
      "5xx answers, by route",
      "reqps",
      [
        query(
          `sum by (component, route, status) (${rate('petrel_http_requests_total{status=~"5..",route!~"/health/.*"}')}) > 0`,
          "{{component}} {{route}} {{status}}",
        ),
      ],
      {
        description: "500 is a bug in the service and alerts. 503 means Redis is unavailable or overloaded.",
      },
    ),
    graph("Duration p50, slowest routes", "s", [query(slowest(0.5), "{{component}} {{method}} {{route}}")]),
    graph("Duration p99, slowest routes", "s", [query(slowest(0.99), "{{component}} {{method}} {{route}}")], {
      description: "Alerts above 1 s for ten minutes.",
    }),

    row("Acceptance"),
    graph(
      "Messages answered 503",
      "percentunit",
      [
        query("petrel:acceptance_unavailable:ratio_rate5m", "5 minutes"),
        query("petrel:acceptance_unavailable:ratio_rate1h", "1 hour"),
        query("petrel:acceptance_unavailable:ratio_rate6h", "6 hours"),
        query("vector(0.001)", "budget"),
      ],
      { description: "Objective: 99.9 %." },
    ),
    graph("Messages, by outcome", "cps", [
      query(`sum by (outcome) (${rate("petrel_collect_messages_total")})`, "{{outcome}}"),
    ]),
    graph("Refused by limits", "cps", [
      query(`sum by (component, limit) (${rate("petrel_limit_refusals_total")})`, "{{component}} {{limit}}"),
    ]),

    row("Sign-in"),
    graph(
      "Tokens and tickets that failed",
      "percentunit",
      [
        query("petrel:sign_in_failed:ratio_rate5m", "5 minutes"),
        query("petrel:sign_in_failed:ratio_rate1h", "1 hour"),
        query("petrel:sign_in_failed:ratio_rate6h", "6 hours"),
        query("vector(0.001)", "budget"),
      ],
      { description: "5xx answers of auth. Objective: 99.9 %." },
    ),
    graph("Tokens and tickets, by status", "reqps", [
      query(
        `sum by (route, status) (${rate(`petrel_http_requests_total{${SIGN_IN}}`)})`,
        "{{route}} {{status}}",
      ),
    ]),
    graph("Tokens and tickets, p99", "s", [
      query(
        quantile(0.99, ", route", `petrel_http_request_duration_seconds_bucket{${SIGN_IN}}`),
        "{{route}}",
      ),
    ]),
    graph("Token checks by push nodes", "cps", [
      query(`sum by (outcome) (${rate("petrel_token_checks_total")})`, "{{outcome}}"),
    ]),
    graph(
      "Token sources up (JWKS, introspection)",
      "short",
      [query("min by (component, source) (petrel_token_source_up)", "{{component}} {{source}}")],
      { max: 1, description: "0 while the source is unreachable." },
    ),
    graph("Connections closed because of their token", "cps", [
      query(`sum by (code) (${rate('petrel_connections_closed_total{code=~"4401|4403|4429"}')})`, "{{code}}"),
    ]),
  ],
};
