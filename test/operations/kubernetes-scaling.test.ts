// Renders k8s/ and checks what adds and removes pods.
// Guarantees: budgets and autoscalers name existing deployments and the services' own metrics; a stopping node leaves
// no more clients to the others than they let in.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { type Autoscaler, type Workload } from "../support/kubernetes/kubernetes-objects.js";
import { createManifestCheck } from "../support/kubernetes/kubernetes-schemas.js";
import { readSources } from "../support/repository/read-sources.js";
import { parseManifests, type Manifest } from "../support/kubernetes/render-overlay.js";
import { directories, isToBeRendered, readRendered } from "../support/kubernetes/rendered-directory.js";
import { settingsOf } from "../support/containers/service-settings.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

const checkManifest = createManifestCheck();
const metricNames = new Set(
  readSources()
    .filter(({ path, isTest }) => !isTest && /^(services|shared)\//.test(path))
    .flatMap(({ text }) => [...text.matchAll(/"(petrel_[a-z_]+)"/g)].map(([, name]) => name)),
);

describe.runIf(isToBeRendered()).each(directories)("k8s/%s", (directory) => {
  const { of, workloads, ours, containersOf, matching, environmentOf } = readRendered(directory);

  test("budgets and autoscalers belong to existing deployments", () => {
    for (const { metadata, spec } of of<Workload>("PodDisruptionBudget")) {
      expect(matching(spec.selector).map((one) => one.metadata.name)).toEqual([metadata.name]);
    }
    const adapter = readFileSync(join(root, "k8s/prometheus-adapter/config-map.yaml"), "utf8");
    for (const { metadata, spec } of of<Autoscaler>("HorizontalPodAutoscaler")) {
      const target = workloads.find((one) => one.metadata.name === spec.scaleTargetRef.name);
      expect(target?.kind, metadata.name).toBe(spec.scaleTargetRef.kind);
      // Otherwise each `apply` would undo the autoscaler's work.
      expect(target?.spec.replicas, metadata.name).toBeUndefined();
      expect(spec.minReplicas, metadata.name).toBeGreaterThan(1);
      for (const { pods, external } of spec.metrics) {
        const name = (pods ?? external)?.metric.name;
        if (name === undefined) continue;
        expect(metricNames, metadata.name).toContain(name);
        expect(adapter).toContain(`seriesQuery: '${name}{`);
      }
    }
  });

  test("push nodes scale up fast, down slowly, with drains that the others can absorb", () => {
    const [node] = ours.filter(({ metadata }) => metadata.name === "push-node").flatMap(containersOf);
    const windowSeconds = Number(node === undefined ? 0 : environmentOf(node)["DRAIN_WINDOW_MS"]) / 1000;
    for (const { metadata, spec } of of<Autoscaler>("HorizontalPodAutoscaler")) {
      if (metadata.name !== "push-node") continue;
      expect(spec.behavior?.scaleUp.stabilizationWindowSeconds).toBe(0);
      expect(spec.behavior?.scaleDown?.stabilizationWindowSeconds).toBeGreaterThanOrEqual(600);
      const connections = spec.metrics.flatMap(({ pods }) =>
        pods === undefined ? [] : Number(pods.target.averageValue),
      );
      const { setting } = settingsOf["push-node"]["connectsPerSecond"] ?? {};
      // docs/receive/drain-and-reconnect.md: clients of one node ÷ window, below CONNECTS_PER_SECOND.
      for (const count of connections) expect(count / windowSeconds).toBeLessThan(Number(setting?.default));
      expect(connections).toHaveLength(1);
    }
    for (const { metadata, spec } of of<Autoscaler>("HorizontalPodAutoscaler")) {
      if (metadata.name !== "dispatch") continue;
      const [partitions] = ours
        .flatMap(containersOf)
        .flatMap((one) => environmentOf(one)["PARTITIONS"] ?? []);
      expect(spec.maxReplicas).toBeLessThanOrEqual(Number(partitions));
    }
  });
});

test("the metrics adapter's ConfigMap has what the autoscalers need", () => {
  const [config, ...others] = parseManifests(
    readFileSync(join(root, "k8s/prometheus-adapter/config-map.yaml"), "utf8"),
  ) as (Manifest & { readonly data: Record<string, string> })[];
  expect(others).toEqual([]);
  expect(config === undefined ? ["none"] : checkManifest(config)).toEqual([]);
  const rules = parse(config?.data["config.yaml"] ?? "") as {
    readonly rules: unknown[];
    readonly externalRules: unknown[];
  };
  expect([rules.rules.length, rules.externalRules.length]).toEqual([1, 2]);
});
