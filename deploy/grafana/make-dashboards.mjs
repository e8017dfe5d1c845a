#!/usr/bin/env node
// content/*.mjs -> here -> dashboards/*.json, k8s/grafana/dashboards.yaml: the dashboards as Grafana takes them, as files
// and as ConfigMaps for the sidecar that looks for the label `grafana_dashboard`. `npm run format` then sets them as it
// likes. `--check` writes nothing and ends with 1 where a file says something else.
// Guarantees: the same files from the same text; every query asks the chosen data source, of the chosen namespaces.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseAllDocuments, stringify } from "yaml";
import { api } from "./content/api.mjs";
import { events } from "./content/events.mjs";
import { fallback } from "./content/fallback.mjs";
import { overview } from "./content/overview.mjs";
import { COLUMNS } from "./content/panels.mjs";
import { pushNodes } from "./content/push-nodes.mjs";
import { topics } from "./content/topics.mjs";

const dashboards = [overview, api, pushNodes, topics, fallback, events];
/** Of provisioning/datasources; another one can be chosen. */
const DEFAULT_DATASOURCE = "petrel-prometheus";
const datasource = { type: "prometheus", uid: "${datasource}" };
const IN_NAMESPACE = 'namespace=~"$namespace"';

/** Every selector of the expression asks for the chosen namespaces; "All" also takes series without one. */
const inNamespace = (expr) =>
  expr.replaceAll(
    /\b((?:petrel[_:]|nodejs_|process_|ALERTS\b)[\w:]*)(\{([^}]*)\})?/g,
    (_, metric, _braces, labels) => `${metric}{${labels === undefined ? "" : `${labels},`}${IN_NAMESPACE}}`,
  );

/** Of a variable's query, in which the metric comes first. */
const variableIn = (text) => text.replace(/label_values\((\w+),/, `label_values($1{${IN_NAMESPACE}},`);

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
      expr: inNamespace(target.expr),
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
          expr: inNamespace('ALERTS{alertname=~"Petrel.*",alertstate="firing"}'),
          iconColor: "red",
          titleFormat: "{{alertname}}",
        },
      ],
    },
    templating: {
      list: [
        {
          name: "datasource",
          label: "Data source",
          type: "datasource",
          query: "prometheus",
          current: { selected: true, text: "Prometheus", value: DEFAULT_DATASOURCE },
          refresh: 1,
        },
        ...[
          { name: "namespace", label: "Namespace", query: "label_values(petrel_build_info, namespace)" },
          ...variables.map((one) => ({ ...one, query: variableIn(one.query) })),
        ].map(({ name, label, query: text }) => ({
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
      ],
    },
    panels: placed,
  };
}

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const made = dashboards.map(dashboardOf);
const configMaps = made.map((dashboard) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: `${dashboard.uid}-dashboard`, labels: { grafana_dashboard: "1" } },
  data: { [`${dashboard.uid}.json`]: `${JSON.stringify(dashboard)}\n` },
}));
const head = "# The dashboards, for Grafana's sidecar. Made by deploy/grafana/make-dashboards.mjs.\n";

/** File -> its text, and what is in a text: the formatter may set it otherwise. */
const files = [
  ...made.map((dashboard) => ({
    file: at(`dashboards/${dashboard.uid}.json`),
    text: `${JSON.stringify(dashboard, undefined, 2)}\n`,
    contentOf: (text) => JSON.parse(text),
  })),
  {
    file: at("../../k8s/grafana/dashboards.yaml"),
    text: head + configMaps.map((one) => stringify(one, { lineWidth: 0 })).join("---\n"),
    contentOf: (text) => parseAllDocuments(text).map((one) => one.toJS()),
  },
];
const isCheck = process.argv.includes("--check");
let stale = 0;
for (const { file, text, contentOf } of files) {
  if (!isCheck) writeFileSync(file, text);
  else if (
    !existsSync(file) ||
    JSON.stringify(contentOf(readFileSync(file, "utf8"))) !== JSON.stringify(contentOf(text))
  ) {
    process.stderr.write(`${file} is not what make-dashboards.mjs makes: run it\n`);
    stale++;
  }
}
process.exitCode = stale === 0 ? 0 : 1;
