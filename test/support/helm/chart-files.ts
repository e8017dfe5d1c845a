// Tests only: the files of deploy/helm/petrel that are made from others.
// Guarantees: k8s/ stays the one source of what is deployed, and the services' schemas that of what may be set.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse, stringify } from "yaml";
import { parseManifests, renderDirectory, type Manifest } from "../kubernetes/render-overlay.js";
import { describeValues, valuesSchema, variables } from "./values-schema.js";

export const chartDirectory = fileURLToPath(new URL("../../../deploy/helm/petrel/", import.meta.url));

const root = fileURLToPath(new URL("../../..", import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), "utf8");

/** What kustomize appends to the name of a ConfigMap, so that another content is another object. */
const suffix = /^(petrel-[a-z-]+)-[a-z0-9]{10}$/;

/** Objects as they would be without it. */
export function withoutSuffixes<T>(node: T): T {
  return JSON.parse(JSON.stringify(node), (_key, value: unknown) =>
    typeof value === "string" ? value.replace(suffix, "$1") : value,
  ) as T;
}

// Helm reads YAML 1.1, in which a bare `off` is no text.
const asYaml = (from: string, content: unknown): string =>
  `# Made from ${from} by test/operations/helm-chart-files.test.ts (PETREL_UPDATE_CHART=1).\n${stringify(content, { lineWidth: 0, aliasDuplicateObjects: false, version: "1.1" })}`;

const items = (from: string, objects: readonly Manifest[]): string => asYaml(from, { items: objects });

/** @returns path within the chart -> content */
export function makeChartFiles(renderer: readonly string[]): Map<string, string> {
  const settings = [...variables()].map(([name, { services }]) => [name, services] as const);
  const [archivePolicy] = parseManifests(read("k8s/archive/network-policies.yaml"));
  const ingresses = (overlay: string) => parseManifests(read(`k8s/overlays/${overlay}/ingresses.yaml`));
  return new Map([
    ["base/objects.yaml", items("k8s/base", withoutSuffixes(renderDirectory(renderer, "k8s/base")))],
    ["base/gateway.yaml", items("k8s/gateway", renderDirectory(renderer, "k8s/gateway"))],
    ["base/ingresses-traefik.yaml", items("k8s/overlays/traefik-ingress", ingresses("traefik-ingress"))],
    ["base/ingresses-nginx.yaml", items("k8s/overlays/nginx-ingress", ingresses("nginx-ingress"))],
    ["base/archive-policy.yaml", asYaml("k8s/archive", archivePolicy)],
    [
      "base/service-monitor.yaml",
      asYaml("k8s/monitoring", parse(read("k8s/monitoring/service-monitor.yaml"))),
    ],
    [
      "base/prometheus-rule.yaml",
      asYaml("k8s/monitoring", parse(read("k8s/monitoring/prometheus-rule.yaml"))),
    ],
    ["base/dashboards.yaml", items("k8s/grafana", parseManifests(read("k8s/grafana/dashboards.yaml")))],
    ["base/settings.yaml", asYaml("services/*/src/config.ts", Object.fromEntries(settings))],
    ["values.schema.json", `${JSON.stringify(valuesSchema(), null, 2)}\n`],
    ["README.md", withTable(readFileSync(join(chartDirectory, "README.md"), "utf8"))],
  ]);
}

/** README.md with the table of values as it should be. */
function withTable(readme: string): string {
  const defaults = parse(readFileSync(join(chartDirectory, "values.yaml"), "utf8")) as unknown;
  const rows = ["| value | default | |", "|---|---|---|", ...describeValues(valuesSchema(), defaults)];
  return readme.replace(/(?<=<!-- values -->\n)[\s\S]*?(?=<!-- \/values -->)/, `\n${rows.join("\n")}\n\n`);
}
