#!/usr/bin/env node
// rules/*.yml -> here -> k8s/monitoring/prometheus-rule.yaml: the same rules, as the Prometheus operator takes them.
// Guarantees: the groups as they are in the files, in the order of their names; nothing added, nothing left out.
//
//   node deploy/prometheus/make-prometheus-rule.mjs
//
// `--check` writes nothing and ends with 1 where the file is not what would be made.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse, stringify } from "yaml";

const rules = fileURLToPath(new URL("rules", import.meta.url));
const file = fileURLToPath(new URL("../../k8s/monitoring/prometheus-rule.yaml", import.meta.url));

const groups = readdirSync(rules)
  .filter((name) => name.endsWith(".yml"))
  .sort()
  .flatMap((name) => parse(readFileSync(join(rules, name), "utf8")).groups);
const made = {
  apiVersion: "monitoring.coreos.com/v1",
  kind: "PrometheusRule",
  metadata: { name: "petrel" },
  spec: { groups },
};

if (!process.argv.includes("--check")) {
  const head =
    "# For the Prometheus operator: the alerts. Made by deploy/prometheus/make-prometheus-rule.mjs from the rules beside it.\n";
  writeFileSync(file, head + stringify(made, { lineWidth: 0, aliasDuplicateObjects: false }));
} else if (!existsSync(file) || JSON.stringify(parse(readFileSync(file, "utf8"))) !== JSON.stringify(made)) {
  process.stderr.write(`${file} is not what make-prometheus-rule.mjs makes: run it\n`);
  process.exitCode = 1;
}
