// Checks deploy/prometheus, deploy/grafana and docs/operate/alerts.md against each other.
// Guarantees: anything that Prometheus' own tool reports is a failure; every alert has a page, and a test in which it
// fires; the dashboards are what their script makes.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { prometheusDirectory, promtool, runsPrometheus } from "../support/start-prometheus.js";

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const filesIn = (folder: string): string[] =>
  readdirSync(join(prometheusDirectory, folder)).map((name) => join(folder, name));
const textOf = (folder: string): string =>
  filesIn(folder)
    .map((name) => readFileSync(join(prometheusDirectory, name), "utf8"))
    .join("\n");
const alertNames = [
  ...new Set([...textOf("rules").matchAll(/- alert: (\w+)/g)].map(([, name = ""]) => name)),
];

describe.runIf(runsPrometheus)("by promtool", () => {
  test("the configuration and the rules are sound", () => {
    expect(promtool(["check", "config", "prometheus.yml"])).toContain("SUCCESS");
    expect(promtool(["check", "rules", ...filesIn("rules")])).toContain("SUCCESS");
  });

  test("each alert fires for its cause, and not without", () => {
    expect(promtool(["test", "rules", ...filesIn("tests")])).toContain("SUCCESS");
  });
});

test("every alert has a test in which it fires", () => {
  const tests = textOf("tests");
  // A block that names the alert and expects labels; or the alert's own series, for a rule with several burn rates.
  const fired = new Set([
    ...[...tests.matchAll(/alertname: (\w+)\n\s+exp_alerts:\n\s+- exp_labels/g)].map(([, name = ""]) => name),
    ...[...tests.matchAll(/labels: 'ALERTS\{alertname="(\w+)"/g)].map(([, name = ""]) => name),
  ]);
  expect(alertNames.length).toBeGreaterThan(20);
  expect(alertNames.filter((name) => !fired.has(name))).toEqual([]);
});

test("every alert says how grave it is, and where its page is; every page is an alert's", () => {
  const rules = textOf("rules");
  const blocks = rules.split(/^ {6}- (?=alert:|record:)/m).filter((block) => block.startsWith("alert:"));
  for (const block of blocks) {
    const [, name = ""] = /alert: (\w+)/.exec(block) ?? [];
    expect(block, name).toMatch(/severity: (page|ticket)/);
    if (!block.includes("annotations: *")) {
      expect(block, name).toMatch(/summary: \S/);
      expect(block, name).toMatch(/description: \S/);
      expect(block, name).toContain(`runbook: docs/operate/alerts.md#${name.toLowerCase()}`);
    }
  }
  const page = readFileSync(at("docs/operate/alerts.md"), "utf8");
  const headings = [...page.matchAll(/^### (\w+)$/gm)].map(([, name = ""]) => name);
  expect(headings.sort()).toEqual([...alertNames].sort());
});

test("the dashboards are what their script makes", () => {
  const script = at("deploy/grafana/make-dashboards.mjs");
  expect(() => execFileSync(process.execPath, [script, "--check"], { stdio: "pipe" })).not.toThrow();
});

test("the operator's PrometheusRule holds the same rules", () => {
  const script = at("deploy/prometheus/make-prometheus-rule.mjs");
  expect(() => execFileSync(process.execPath, [script, "--check"], { stdio: "pipe" })).not.toThrow();
});

test("Grafana is told where they are, and the data source that they name", () => {
  const provider = readFileSync(at("deploy/grafana/provisioning/dashboards/petrel.yml"), "utf8");
  const source = readFileSync(at("deploy/grafana/provisioning/datasources/prometheus.yml"), "utf8");
  const compose = readFileSync(at("docker-compose.yml"), "utf8");
  expect(provider).toContain("path: /etc/petrel/grafana/dashboards");
  expect(compose).toContain("./deploy/grafana:/etc/petrel/grafana:ro");
  const [, uid = ""] = /uid: (\S+)/.exec(source) ?? [];
  for (const name of readdirSync(at("deploy/grafana/dashboards"))) {
    const text = readFileSync(at(`deploy/grafana/dashboards/${name}`), "utf8");
    for (const [, used] of text.matchAll(/"type": "prometheus", "uid": "([^"]+)"/g)) expect(used).toBe(uid);
  }
  expect(compose).toContain("./deploy/prometheus:/etc/prometheus:ro");
});
