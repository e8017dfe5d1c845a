// make-dashboards -> here: requests by route, acceptance, sign-in.
import { graph, quantile, query, rate, row } from "./panels.mjs";

const SIGN_IN = 'component="auth",method="POST",route=~"/v1/(tokens|tokens/refresh|tickets)"';
const slowest = (q) =>
  `topk(10, ${quantile(q, ", component, route, method", "petrel_http_request_duration_seconds_bucket")})`;

export const api = {
  uid: "petrel-api",
  title: "Petrel: HTTP and sign-in",
  description:
    "Requests by route: how many, how they are answered, how long they take; and the budgets of two objectives.",
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
      "Answered 5xx, by route",
      "reqps",
      [
        query(
          `sum by (component, route, status) (${rate('petrel_http_requests_total{status=~"5..",route!~"/health/.*"}')}) > 0`,
          "{{component}} {{route}} {{status}}",
        ),
      ],
      { description: "500 is a fault of the program: an alert. 503 is Redis, or an overload." },
    ),
    graph("Median, the slowest routes", "s", [query(slowest(0.5), "{{component}} {{method}} {{route}}")]),
    graph("p99, the slowest routes", "s", [query(slowest(0.99), "{{component}} {{method}} {{route}}")], {
      description: "Above 1 s for ten minutes: an alert.",
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
      { description: "The objective is 99.9 %." },
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
      { description: "5xx of auth. The objective is 99.9 %." },
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
    graph("Tokens checked by push nodes", "cps", [
      query(`sum by (outcome) (${rate("petrel_token_checks_total")})`, "{{outcome}}"),
    ]),
    graph(
      "Sources for checking tokens",
      "short",
      [query("min by (component, source) (petrel_token_source_up)", "{{component}} {{source}}")],
      { max: 1, description: "0 while it cannot be reached." },
    ),
    graph("Closed for their token", "cps", [
      query(`sum by (code) (${rate('petrel_connections_closed_total{code=~"4401|4403|4429"}')})`, "{{code}}"),
    ]),
  ],
};
