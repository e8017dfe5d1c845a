// Checks deploy/prometheus, deploy/grafana and docs/operate/alerts.md against each other.
// Guarantees: anything that Prometheus' own tool reports is a failure; every alert has a page, a test in which it fires
// and one in which it is silent, and (`npm run test:full`) no rule can be weaker without one of them failing; the
// dashboards are what their script makes.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import {
  clausesOf,
  findUnnoticedMutants,
  readAlertRules,
  readAssertions,
  readRuleFiles,
  type AlertRule,
} from "../support/prometheus/alert-mutants.js";
import { createManifestCheck } from "../support/kubernetes/kubernetes-schemas.js";
import { parseManifests } from "../support/kubernetes/render-overlay.js";
import { sized } from "../support/sizes.js";
import { prometheusDirectory, promtool, runsPrometheus } from "../support/prometheus/start-prometheus.js";

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const filesIn = (folder: string): string[] =>
  readdirSync(join(prometheusDirectory, folder)).map((name) => join(folder, name));
describe.runIf(runsPrometheus)("by promtool", () => {
  test("accepts the configuration and the rules", () => {
    expect(promtool(["check", "config", "prometheus.yml"])).toContain("SUCCESS");
    expect(promtool(["check", "rules", ...filesIn("rules")])).toContain("SUCCESS");
  });

  test("fires each alert for its cause only", () => {
    expect(promtool(["test", "rules", ...filesIn("tests")])).toContain("SUCCESS");
  });
});

const rules = readAlertRules(prometheusDirectory);

test("every alert has a test in which it fires, and one in which it is silent", () => {
  const assertions = readAssertions(prometheusDirectory);
  // A rule of several burn rates has several alerts of one name: each fires somewhere.
  const asExpected = (rule: AlertRule): boolean =>
    assertions.some(
      ({ alertname, exp_alerts }) =>
        alertname === rule.alert &&
        exp_alerts.some(({ exp_labels }) =>
          Object.entries(rule.labels).every(([label, value]) => exp_labels[label] === value),
        ),
    );
  const isSilent = (rule: AlertRule): boolean =>
    assertions.some(({ alertname, exp_alerts }) => alertname === rule.alert && exp_alerts.length === 0);
  expect(rules.length).toBeGreaterThan(50);
  expect(rules.filter((rule) => !asExpected(rule)).map(({ alert }) => alert)).toEqual([]);
  expect(rules.filter((rule) => !isSilent(rule)).map(({ alert }) => alert)).toEqual([]);
});

// Some hundred and fifty rules more than the real ones: too much for each run.
test.runIf(runsPrometheus && sized(1, 0) === 1)(
  "losing a rule's threshold, its `for` or a condition is noticed",
  () => {
    const { tried, unnoticed } = findUnnoticedMutants(prometheusDirectory);
    expect(tried).toBeGreaterThan(2 * rules.length);
    expect(unnoticed).toEqual([]);
  },
  120_000,
);

test("splits an expression only between its conditions", () => {
  expect(clausesOf('a > 1 and (b or c) unless on (x) sum(d{or="and"}) or e')).toEqual([
    { operator: "", text: "a > 1" },
    { operator: "and", text: "(b or c)" },
    { operator: "unless", text: 'on (x) sum(d{or="and"})' },
    { operator: "or", text: "e" },
  ]);
});

test("judges each installation alone: every aggregation keeps its namespace", () => {
  for (const file of readRuleFiles(prometheusDirectory)) {
    for (const { expr } of file.groups.flatMap((group) => group.rules)) {
      const sums = expr.matchAll(/(?<![:\w])(?:sum|max|min|avg|count|group)\b(?!_)\s*(?:by \(([^)]*)\))?/g);
      for (const [all, by = ""] of sums) {
        // `absent` knows no namespaces.
        if (expr.includes(`${all} (absent(`)) continue;
        expect(by.split(", "), expr).toContain("namespace");
      }
    }
  }
});

test("identifies targets by a label, wherever a job's or a process' own metrics are queried", () => {
  for (const { alert, expr } of rules) {
    for (const [all] of expr.matchAll(/\b(?:up|(?:nodejs|process)_\w+)\b(?:\{[^}]*\})?/g))
      expect(all, alert).toContain('app_kubernetes_io_part_of="petrel"');
  }
  const { scrape_configs } = parse(readFileSync(join(prometheusDirectory, "prometheus.yml"), "utf8")) as {
    scrape_configs: { job_name: string; static_configs?: { labels: Record<string, string> }[] }[];
  };
  // An exporter for Redis is another program.
  const ours = scrape_configs.filter(({ job_name: job }) => job !== "redis");
  expect(ours.length).toBeGreaterThanOrEqual(5);
  for (const { labels } of ours.flatMap((one) => one.static_configs ?? [{ labels: {} }]))
    expect(labels).toEqual({ app_kubernetes_io_part_of: "petrel" });
});

test("every alert has a severity and a page; every page is an alert's", () => {
  const { runbooks } = JSON.parse(readFileSync(join(prometheusDirectory, "settings.json"), "utf8")) as {
    runbooks: string;
  };
  expect(new URL(runbooks).protocol).toBe("https:");
  for (const { alert, labels, annotations } of rules) {
    expect(labels["severity"], alert).toMatch(/^(page|ticket)$/);
    expect(Object.keys(annotations).sort(), alert).toEqual(["description", "runbook_url", "summary"]);
    expect(annotations["runbook_url"], alert).toBe(`${runbooks}#${alert.toLowerCase()}`);
  }
});

test("every page says what its alert means, what users notice, where to look first and what to do", () => {
  const page = readFileSync(at("docs/operate/alerts.md"), "utf8");
  const [, ...sections] = page.split(/^### /m);
  const names = sections.map((section) => section.split("\n")[0] ?? "");
  expect(names.toSorted()).toEqual([...new Set(rules.map(({ alert }) => alert))].sort());
  for (const [i, section] of sections.entries()) {
    const name = names[i] ?? "";
    const [, graveness = ""] = /^\w+\n\n\*\*(.*)\.\*\* \S/.exec(section) ?? [];
    const severities = rules.filter(({ alert }) => alert === name).map(({ labels }) => labels["severity"]);
    for (const severity of ["page", "ticket"])
      expect(graveness.toLowerCase().includes(severity), name).toBe(severities.includes(severity));
    expect(section, name).toMatch(/^\*\*Users:\*\* \S/m);
    const [, commands = ""] = /^```sh\n([^]*?)\n```$/m.exec(section) ?? [];
    expect(commands.split("\n"), name).toHaveLength(3);
    expect(section, name).toMatch(/^\*\*Then:\*\* \S/m);
  }
});

test("the pages' commands query existing metrics and exist in petrel", () => {
  const page = readFileSync(at("docs/operate/alerts.md"), "utf8");
  const queries = [...page.matchAll(/^q '(.*)'$/gm)].map(([, query = ""]) => query);
  expect(queries.length).toBeGreaterThan(80);
  for (const query of queries) {
    for (const [name] of query.matchAll(/\bpetrel_\w+/g))
      expect(documentedMetrics().has(name.replace(/_(?:bucket|count|sum)$/, "")), name).toBe(true);
  }
  const help = readFileSync(at("clients/cli/src/help.ts"), "utf8");
  for (const [all, command = "", action = ""] of page.matchAll(/\bpetrel ([a-z-]+)(?: ([a-z][a-z-]*))?/g)) {
    if (!page.includes(`\`${all}`) && !page.includes(`\n${all}`)) continue;
    const line = new RegExp(`^ {2}petrel ${command}\\b${action === "" ? "" : `.*\\b${action}\\b`}`, "m");
    expect(line.test(help), all).toBe(true);
  }
});

test("inhibited alerts exist", () => {
  const { inhibit_rules } = parse(readFileSync(at("deploy/docker/alertmanager.yml"), "utf8")) as {
    inhibit_rules: { source_matchers: string[]; target_matchers: string[]; equal: string[] }[];
  };
  const names = new Set(rules.map(({ alert }) => alert));
  for (const { source_matchers, target_matchers, equal } of inhibit_rules) {
    expect(equal).toContain("namespace");
    const named = [...source_matchers, ...target_matchers].join(" ").match(/\bPetrel\w+/g) ?? [];
    expect(named.length).toBeGreaterThan(1);
    for (const name of named) expect([...names]).toContain(name);
  }
});

test("another address for the pages reaches every rule, its test and the operator's file", () => {
  // Under the tree's root, where the script finds its packages.
  mkdirSync(at(".cache"), { recursive: true });
  const copy = mkdtempSync(at(".cache/prometheus-"));
  try {
    for (const folder of ["deploy/prometheus", "k8s/monitoring"])
      cpSync(at(folder), join(copy, folder), { recursive: true });
    const script = join(copy, "deploy/prometheus/make-prometheus-rule.mjs");
    const address = "https://wiki.example.test/petrel";
    const run = (...args: string[]): string =>
      execFileSync(process.execPath, [script, ...args], { encoding: "utf8", stdio: "pipe" });
    run("--runbooks", address);
    run("--check");
    const changed = readAlertRules(join(copy, "deploy/prometheus"));
    expect(changed.length).toBe(rules.length);
    for (const { alert, annotations } of changed)
      expect(annotations["runbook_url"]).toBe(`${address}#${alert.toLowerCase()}`);
    const operator = readFileSync(join(copy, "k8s/monitoring/prometheus-rule.yaml"), "utf8");
    expect(operator.match(/runbook_url: .*$/gm)?.every((line) => line.includes(address))).toBe(true);
    expect(() => run("--runbooks", "docs/operate/alerts.md")).toThrow("Invalid URL");
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
});

test("the dashboards are up to date with their script", () => {
  const script = at("deploy/grafana/make-dashboards.mjs");
  expect(() => execFileSync(process.execPath, [script, "--check"], { stdio: "pipe" })).not.toThrow();
});

test("the operator's PrometheusRule holds the same rules", () => {
  const script = at("deploy/prometheus/make-prometheus-rule.mjs");
  expect(() => execFileSync(process.execPath, [script, "--check"], { stdio: "pipe" })).not.toThrow();
});

test("Grafana finds them, and the data source they name", () => {
  const provider = readFileSync(at("deploy/grafana/provisioning/dashboards/petrel.yml"), "utf8");
  const source = readFileSync(at("deploy/grafana/provisioning/datasources/prometheus.yml"), "utf8");
  const compose = readFileSync(at("docker-compose.yml"), "utf8");
  expect(provider).toContain("path: /etc/petrel/grafana/dashboards");
  expect(compose).toContain("./deploy/grafana:/etc/petrel/grafana:ro");
  const [, uid = ""] = /uid: (\S+)/.exec(source) ?? [];
  for (const { name, text, templating } of readDashboards()) {
    const [chosen] = templating.list;
    expect(chosen, name).toMatchObject({ name: "datasource", type: "datasource", current: { value: uid } });
    for (const [, used] of text.matchAll(/"type":\s*"prometheus",\s*"uid":\s*"([^"]+)"/g))
      expect(used, name).toBe("${datasource}");
  }
  expect(compose).toContain("./deploy/prometheus:/etc/prometheus:ro");
});

function documentedMetrics(): Set<string> {
  const page = readFileSync(at("docs/operate/metrics.md"), "utf8");
  return new Set([...page.matchAll(/^\| `(petrel_\w+)` \|/gm)].map(([, name = ""]) => name));
}

interface Dashboard {
  readonly name: string;
  readonly text: string;
  readonly templating: { readonly list: readonly { readonly name: string; readonly allValue?: string }[] };
  readonly panels: readonly {
    readonly title: string;
    readonly targets?: readonly { readonly expr: string }[];
  }[];
}

function readDashboards(): Dashboard[] {
  return readdirSync(at("deploy/grafana/dashboards")).map((name) => {
    const text = readFileSync(at(`deploy/grafana/dashboards/${name}`), "utf8");
    return { ...(JSON.parse(text) as Omit<Dashboard, "name" | "text">), name, text };
  });
}

test("every panel queries only the chosen namespaces, and existing metrics", () => {
  const known = documentedMetrics();
  const recorded = new Set(
    readRuleFiles(prometheusDirectory).flatMap(({ groups }) =>
      groups.flatMap((group) => group.rules.flatMap((rule) => ("record" in rule ? rule.record : []))),
    ),
  );
  const asked = new Set<string>();
  for (const { name, panels, templating } of readDashboards()) {
    expect(templating.list[1], name).toMatchObject({ name: "namespace", allValue: ".*" });
    for (const { title, targets = [] } of panels) {
      for (const { expr } of targets) {
        for (const [, metric = "", labels = ""] of expr.matchAll(
          /\b((?:petrel[_:]|nodejs_|process_)[\w:]*)(\{[^}]*\})?/g,
        )) {
          asked.add(metric);
          expect(labels, `${name}: ${title}`).toContain('namespace=~"$namespace"');
          const family = metric.replace(/_(?:bucket|count|sum)$/, "");
          const exists =
            /^(?:nodejs|process)_/.test(metric) ||
            recorded.has(metric) ||
            known.has(metric) ||
            known.has(family);
          expect(exists, `${name}: ${title}: ${metric}`).toBe(true);
        }
      }
    }
  }
  // What those on call ask for first.
  for (const metric of [
    "petrel_redis_memory_used_bytes",
    "petrel_dispatch_wake_lag_seconds",
    "petrel_http_requests_total",
    "petrel:sign_in_failed:ratio_rate5m",
    "petrel_event_read_lag_seconds_bucket",
    "petrel_webhook_lag_seconds",
    "petrel_archive_lag_seconds",
    "petrel_fallback_sends_total",
  ])
    expect([...asked]).toContain(metric);
});

test("the dashboards' ConfigMaps are accepted by the API servers and small enough", () => {
  const maps = parseManifests(readFileSync(at("k8s/grafana/dashboards.yaml"), "utf8"));
  expect(maps.flatMap(createManifestCheck())).toEqual([]);
  expect(maps).toHaveLength(readDashboards().length);
  for (const map of maps) {
    expect(map.metadata.labels).toEqual({ grafana_dashboard: "1" });
    expect(JSON.stringify(map).length, map.metadata.name).toBeLessThan(1_000_000);
  }
});
