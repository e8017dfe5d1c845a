// Renders deploy/helm/petrel by Helm, once for each set of values, and compares it with k8s/. No cluster is needed.
// Guarantees: API servers accept every object; with the same choices it is what kustomize renders, object by object; no
// setting is unread, every named file is mounted, a pod has the time that its stop takes.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { chartDirectory, withoutSuffixes } from "../support/helm/chart-files.js";
import { isHelmThere, lintChart, renderChart } from "../support/helm/render-chart.js";
import type { Container, Workload } from "../support/kubernetes/kubernetes-objects.js";
import { createManifestCheck } from "../support/kubernetes/kubernetes-schemas.js";
import {
  findRenderer,
  parseManifests,
  renderDirectory,
  type Manifest,
} from "../support/kubernetes/render-overlay.js";
import { readObjects } from "../support/kubernetes/rendered-directory.js";
import { problemsOf, stopDeadlineMs, type ImageName } from "../support/containers/service-settings.js";

const checkManifest = createManifestCheck();
const isThere = isHelmThere();
const kustomize = findRenderer();

/** Sets of values, and the directory of k8s/ that has made the same choices. */
const sets: readonly { readonly examples: readonly string[]; readonly directory?: string }[] = [
  { examples: [], directory: "base" },
  { examples: ["production"], directory: "overlays/production" },
  { examples: ["production", "traefik-ingress"], directory: "overlays/traefik-ingress" },
  { examples: ["production", "traefik-ingress", "without-crds"], directory: "overlays/without-crds" },
  { examples: ["production", "nginx-ingress"], directory: "overlays/nginx-ingress" },
  { examples: ["production", "everything"], directory: "overlays/everything" },
  { examples: ["cluster-tls"] },
];

/** Objects by kind and name, without what only one of the two tools adds, lists of named things in the same order. */
function comparable(objects: readonly Manifest[], isBase: boolean): Record<string, unknown> {
  const byName = objects
    .filter(({ kind }) => kind !== "Namespace")
    .map((object) => [
      `${object.kind} ${object.metadata.name}`,
      JSON.parse(JSON.stringify(object, plain(isBase))),
    ]);
  return Object.fromEntries(byName) as Record<string, unknown>;
}

function plain(isBase: boolean) {
  const added = ["namespace", "app.kubernetes.io/managed-by", "helm.sh/chart", "checksum/settings"];
  return (key: string, value: unknown): unknown => {
    if (added.includes(key) && typeof value === "string") return undefined;
    // The base names no version.
    if (isBase && key === "image") return String(value).replace(/:[^/]*$/, "");
    if (key === "annotations" && Object.keys(value as object).every((name) => added.includes(name)))
      return undefined;
    if (!["env", "volumes", "volumeMounts"].includes(key)) return value;
    const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1);
    return [...(value as { name: string }[])].sort(byName);
  };
}

function containerOf({ metadata, spec }: Workload): Container {
  const [container] = spec.template.spec.containers;
  if (container === undefined) throw new Error(`${metadata.name} has no container`);
  return container;
}

describe.runIf(isThere).each(sets)("with $examples", ({ examples, directory }) => {
  const objects = isThere ? renderChart(examples) : [];
  const { workloads, environmentOf } = readObjects(objects);

  test("is accepted by the API servers, strictly, and by Helm's linter", () => {
    expect(objects.flatMap(checkManifest)).toEqual([]);
    expect(lintChart(examples)).toBe("");
    const names = objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    expect(new Set(names).size).toBe(names.length);
    for (const { metadata } of objects) expect(metadata.namespace, metadata.name).toBe("petrel");
    expect(workloads.map(({ metadata }) => metadata.name).sort()).toEqual([
      "auth",
      "collect",
      "dispatch",
      "push-node",
    ]);
  });

  test.runIf(directory !== undefined && kustomize !== undefined)("equals what kustomize renders", () => {
    const theirs = renderDirectory(kustomize ?? [], `k8s/${directory ?? ""}`);
    const isBase = directory === "base";
    expect(comparable(objects, isBase)).toEqual(comparable(withoutSuffixes(theirs), isBase));
  });

  test("gives each service what it reads, from mounted files, and leaves it time to stop", () => {
    for (const workload of workloads) {
      const name = workload.metadata.name as ImageName;
      const container = containerOf(workload);
      const environment = environmentOf(container);
      expect(problemsOf(name, environment)).toEqual([]);
      const variables = (container.env ?? []).map((one) => one.name);
      expect(new Set(variables).size, name).toBe(variables.length);
      const { volumes = [] } = workload.spec.template.spec;
      const files = (container.volumeMounts ?? []).flatMap((mount) => {
        const volume = volumes.find((one) => one.name === mount.name);
        const items = volume?.secret?.items ?? volume?.configMap?.items ?? [];
        return items.map(({ path }) => `${mount.mountPath}/${path}`);
      });
      for (const [variable, value] of Object.entries(environment))
        if (variable.endsWith("_FILE")) expect(files, `${name} ${variable}`).toContain(value);
      const preStop = container.lifecycle?.preStop?.sleep?.seconds ?? 0;
      const grace = workload.spec.template.spec.terminationGracePeriodSeconds;
      expect(grace, name).toBeGreaterThanOrEqual(preStop + stopDeadlineMs(name, environment) / 1000);
    }
  });
});

describe.runIf(isThere)("beyond the directories of k8s/", () => {
  const objects = isThere ? renderChart(["cluster-tls"]) : [];
  const { of, workloads, containersOf, environmentOf } = readObjects(objects);
  const find = (name: string) => workloads.find(({ metadata }) => metadata.name === name);
  const environment = (name: string) => {
    const [container] = workloads.filter(({ metadata }) => metadata.name === name).flatMap(containersOf);
    return container === undefined ? {} : environmentOf(container);
  };

  test("a variable reaches the services that read it, unchanged", () => {
    expect(environment("auth")).toMatchObject({ REDIS_CLUSTER: "redis-0.redis:6379,redis-1.redis:6379" });
    expect(environment("auth")).not.toHaveProperty("TOPIC_RING_BYTES");
    expect(environment("push-node")).toMatchObject({
      TOPIC_RING_BYTES: "33554432",
      TRACE_SAMPLE_RATIO: "0.25",
      AUTH_URL: "https://auth:7101",
      AUTH_CA_FILE: "/etc/petrel/petrel-authorities/ca.crt",
    });
    expect([environment("collect")["LOG_LEVEL"], environment("auth")["LOG_LEVEL"]]).toEqual([
      "debug",
      "info",
    ]);
  });

  test("with TLS to the services they are probed over TLS; a probe cannot present a certificate", () => {
    const text = JSON.stringify(workloads);
    expect(text.match(/"scheme":"HTTPS"/g)).toHaveLength(12);
    const refused = ["--set", "files.TLS_CLIENT_CA_FILE.secret=a", "--set", "files.TLS_CLIENT_CA_FILE.key=b"];
    expect(() => renderChart(["cluster-tls"], ...refused)).toThrow(/probes send no certificate/);
  });

  test("Secrets of any valid name are mounted, each in its own place", () => {
    const long = `${"petrel-".repeat(9)}keys`;
    const from = {
      TLS_CERT_FILE: { secret: "push.example.com-tls", key: "tls.crt" },
      TLS_KEY_FILE: { secret: "push.example-com-tls", key: "tls.key" },
      // The base mounts files of its own at /run/secrets/petrel and /etc/petrel/topics.
      VAPID_KEY_FILE: { secret: "petrel", key: "vapid-key.pem" },
      AUTH_CA_FILE: { configMap: "topics", key: "ca.crt" },
      APNS_KEY_FILE: { secret: long, key: "apns-key.p8" },
    };
    const rendered = renderChart([], "--set-json", `files=${JSON.stringify(from)}`);
    expect(rendered.flatMap(checkManifest)).toEqual([]);
    for (const { metadata, spec } of readObjects(rendered).workloads) {
      const { volumes = [], containers } = spec.template.spec;
      const names = volumes.map(({ name }) => name);
      for (const name of names) expect(name).toMatch(/^[a-z0-9][-a-z0-9]{0,61}[a-z0-9]$/);
      expect(new Set(names).size, metadata.name).toBe(names.length);
      const places = containers.flatMap(({ volumeMounts = [] }) => volumeMounts.map((one) => one.mountPath));
      expect(new Set(places).size, metadata.name).toBe(places.length);
      for (const { volumeMounts = [], env = [] } of containers)
        for (const [variable, { key }] of Object.entries(from)) {
          const value = env.find(({ name }) => name === variable)?.value;
          if (value === undefined) continue;
          const mount = volumeMounts.find(({ mountPath }) => `${mountPath}/${key}` === value);
          const volume = volumes.find(({ name }) => name === mount?.name);
          expect(JSON.stringify(volume), variable).toContain(`"path":"${key}"`);
        }
    }
  });

  test("variables of Node or a library reach all four services; a setting cannot be hidden there", () => {
    const header = {
      name: "OTEL_EXPORTER_OTLP_HEADERS",
      valueFrom: { secretKeyRef: { name: "otel", key: "headers" } },
    };
    const rendered = renderChart(["production"], "--set-json", `extraEnv=${JSON.stringify([header])}`);
    expect(rendered.flatMap(checkManifest)).toEqual([]);
    for (const workload of readObjects(rendered).workloads)
      expect(containerOf(workload).env, workload.metadata.name).toContainEqual(header);
    const hidden = JSON.stringify([{ name: "LOG_LEVEL", value: "debug" }]);
    expect(() => renderChart([], "--set-json", `extraEnv=${hidden}`)).toThrow(/LOG_LEVEL is a setting/);
  });

  test("replicas, node placement, images, Secrets and rules follow the values", () => {
    expect(["auth", "dispatch", "push-node", "collect"].map((name) => find(name)?.spec.replicas)).toEqual([
      1,
      2,
      3,
      undefined,
    ]);
    expect(of("HorizontalPodAutoscaler").map(({ metadata }) => metadata.name)).toEqual(["collect"]);
    expect([of("PodDisruptionBudget"), of("NetworkPolicy")]).toEqual([[], []]);
    expect(
      workloads
        .flatMap(containersOf)
        .map(({ image }) => image)
        .sort(),
    ).toEqual([
      "registry.example.com/petrel/auth:0.1.0",
      "registry.example.com/petrel/collect:0.1.0",
      "registry.example.com/petrel/dispatch:0.1.0",
      `registry.example.com/petrel/push-node@sha256:${"0123456789abcdef".repeat(4)}`,
    ]);
    expect(JSON.stringify(workloads)).not.toMatch(/"(petrel-redis|petrel-auth)",?"?(key|defaultMode)/);
    expect(JSON.stringify(find("auth"))).toContain('"secretName":"my-auth"');
    expect(JSON.stringify(find("auth"))).toContain('"secretKeyRef":{"key":"REDIS_URL","name":"my-redis"}');
    expect(find("push-node")?.spec.template.spec).toMatchObject({
      nodeSelector: { pool: "sockets" },
      terminationGracePeriodSeconds: 65,
    });
    expect(containersOf(find("push-node") as Workload)[0]?.resources).toMatchObject({
      requests: { cpu: "500m" },
      limits: { memory: "1Gi" },
    });
    const topics = of<Manifest & { readonly data: Record<string, string> }>("ConfigMap").find(
      ({ metadata }) => metadata.name === "petrel-topics",
    );
    expect(JSON.parse(topics?.data["topics.json"] ?? "")).toEqual({
      rules: [{ topics: "room.*", historySize: 100 }],
    });
  });

  test("an alert's link opens a page for those on call", () => {
    const address = "https://wiki.example.com/alerts";
    const more = ["--set", "monitoring.prometheusRule.enabled=true"];
    const pages = (...args: string[]) =>
      [...JSON.stringify(renderChart([], ...more, ...args)).matchAll(/"runbook_url":"([^#"]*)#\w+"/g)].map(
        ([, one]) => one,
      );
    const moved = pages("--set", `monitoring.prometheusRule.runbooks=${address}`);
    expect(new Set(moved)).toEqual(new Set([address]));
    expect(moved).toHaveLength(pages().length);
    expect(moved.length).toBeGreaterThan(20);
  });

  test("the dashboards are those of k8s/grafana, with the sidecar's labels", () => {
    const more = [
      "--set",
      "monitoring.dashboards.enabled=true",
      "--set",
      "monitoring.dashboards.labels.team=push",
    ];
    const isDashboard = ({ metadata }: Manifest): boolean => metadata.labels?.["grafana_dashboard"] === "1";
    const dashboards = renderChart([], ...more).filter(isDashboard) as (Manifest & {
      readonly data: unknown;
    })[];
    const theirs = parseManifests(
      readFileSync(join(chartDirectory, "../../../k8s/grafana/dashboards.yaml"), "utf8"),
    );
    expect(dashboards.flatMap(checkManifest)).toEqual([]);
    expect(dashboards.map(({ metadata, data }) => [metadata.name, data])).toEqual(
      (theirs as typeof dashboards).map(({ metadata, data }) => [metadata.name, data]),
    );
    for (const { metadata } of dashboards) expect(metadata.labels?.["team"]).toBe("push");
    expect(renderChart([]).filter(isDashboard)).toEqual([]);
  });

  test("pods are recreated when their settings change, and only then", () => {
    const checksums = (...more: string[]): unknown[] =>
      readObjects(renderChart([], ...more)).workloads.map(({ spec }) => {
        const { annotations } = spec.template.metadata as { readonly annotations?: Record<string, string> };
        return annotations?.["checksum/settings"];
      });
    const [before, after] = [checksums(), checksums("--set", "settings.SESSION_POLICY=one")];
    expect(before.filter((one, index) => one !== after[index])).toHaveLength(1);
  });

  test("a stop waits for the ingress as long as configured, or not at all", () => {
    const sleeps = (...more: string[]): unknown[] => {
      const { workloads: all, containersOf: containers } = readObjects(renderChart([], ...more));
      return all
        .filter(({ metadata }) => metadata.name === "collect")
        .flatMap(containers)
        .map(({ lifecycle }) => lifecycle?.preStop?.sleep?.seconds);
    };
    expect(sleeps("--set", "services.collect.preStopSeconds=0")).toEqual([undefined]);
    expect(sleeps("--set", "services.collect.preStopSeconds=30")).toEqual([30]);
  });

  test("the number of partitions is one for all services: with its own, one would look for users elsewhere", () => {
    for (const service of ["auth", "collect", "dispatch", "push-node"])
      expect(() => renderChart([], "--set", `services.${service}.settings.PARTITIONS=8`)).toThrow(
        new RegExp(`set settings.PARTITIONS, not services.${service}.settings`),
      );
    const {
      workloads: all,
      environmentOf: read,
      containersOf: containers,
    } = readObjects(renderChart([], "--set", "settings.PARTITIONS=8"));
    const numbers = all.flatMap(containers).map((container) => read(container)["PARTITIONS"]);
    expect(numbers).toEqual(["8", "8", "8", "8"]);
  });

  test("refuses an unread name before anything is rendered", () => {
    expect(() => renderChart([], "--set", "settings.DRAIN_WINDOWMS=1")).toThrow(/DRAIN_WINDOWMS/);
    expect(() => renderChart([], "--set", "services.auth.settings.DRAIN_WINDOW_MS=1")).toThrow(
      /DRAIN_WINDOW_MS/,
    );
  });
});
