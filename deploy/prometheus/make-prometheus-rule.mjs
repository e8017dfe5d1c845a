#!/usr/bin/env node
// settings.json, rules/*.yml -> here -> k8s/monitoring/prometheus-rule.yaml: the same rules, as the Prometheus operator takes
// them; and every runbook_url, in the rules and in their tests, at the address that settings.json says.
// Guarantees: the groups as they are in the files, in the order of their names; nothing added, nothing left out.
//
//   node deploy/prometheus/make-prometheus-rule.mjs [--runbooks https://wiki.example.com/petrel/alerts]
//
// `--runbooks` sets the address first: that of docs/operate/alerts.md where those on call can open it. `--check` writes
// nothing and ends with 1 where a file is not what would be made.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { parse, stringify } from "yaml";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const settingsFile = at("settings.json");
const ruleFile = at("../../k8s/monitoring/prometheus-rule.yaml");

const { values } = parseArgs({ options: { check: { type: "boolean" }, runbooks: { type: "string" } } });
const settings = JSON.parse(readFileSync(settingsFile, "utf8"));
if (values.runbooks !== undefined) {
  settings.runbooks = new URL(values.runbooks).href;
  writeFileSync(settingsFile, `${JSON.stringify(settings, undefined, 2)}\n`);
}

const filesIn = (folder) =>
  readdirSync(at(folder))
    .filter((name) => name.endsWith(".yml"))
    .sort()
    .map((name) => join(at(folder), name));
const linked = (text) => text.replaceAll(/(runbook_url: )[^\s#]*#/g, `$1${settings.runbooks}#`);

let stale = 0;
function keep(file, isAsMade, made) {
  if (isAsMade) return;
  if (values.check !== true) return writeFileSync(file, made);
  process.stderr.write(`${file} is not what make-prometheus-rule.mjs makes: run it\n`);
  stale++;
}

for (const file of [...filesIn("rules"), ...filesIn("tests")]) {
  const text = readFileSync(file, "utf8");
  keep(file, text === linked(text), linked(text));
}

const made = {
  apiVersion: "monitoring.coreos.com/v1",
  kind: "PrometheusRule",
  metadata: { name: "petrel" },
  spec: { groups: filesIn("rules").flatMap((file) => parse(linked(readFileSync(file, "utf8"))).groups) },
};
const head =
  "# For the Prometheus operator: the alerts. Made by deploy/prometheus/make-prometheus-rule.mjs from the rules beside it.\n";
keep(
  ruleFile,
  existsSync(ruleFile) && JSON.stringify(parse(readFileSync(ruleFile, "utf8"))) === JSON.stringify(made),
  head + stringify(made, { lineWidth: 0, aliasDuplicateObjects: false }),
);
process.exitCode = stale === 0 ? 0 : 1;
