// Renders the overlays of k8s/ and holds them to what they promise. No cluster is needed.
// Guarantees: every object is one that the API servers take; every container is nobody's and cannot write; a pod has the
// time that its stop takes; whatever names something else (ports, labels, settings, metrics) names something that is there.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import {
  matches,
  type Autoscaler,
  type Container,
  type Ingress,
  type Policy,
  type PolicyPeer,
  type PolicyRule,
  type Route,
  type Selector,
  type Service,
  type Workload,
} from "./kubernetes-objects.js";
import { createManifestCheck } from "./kubernetes-schemas.js";
import { readSources } from "./read-sources.js";
import { findRenderer, parseManifests, renderDirectory, type Manifest } from "./render-overlay.js";
import { isImageName, problemsOf, settingsOf, stopDeadlineMs, type ImageName } from "./service-settings.js";

const renderer = findRenderer();
const isRequired = process.env["PETREL_REQUIRE_KUSTOMIZE"] === "1";
if (renderer === undefined) {
  process.stderr.write("\n*** No kubectl with kustomize 5, and no kustomize: k8s/ is not checked. ***\n\n");
}

const root = fileURLToPath(new URL("..", import.meta.url));
/** Under k8s/: overlays say what the base does not, and the base has to be right where they say nothing. */
const directories = ["base", "overlays/dev", "overlays/production", "overlays/nginx-ingress"] as const;
const checkManifest = createManifestCheck();

describe.runIf(renderer !== undefined || isRequired).each(directories)("k8s/%s", (directory) => {
  const isLeftOut = renderer === undefined && !isRequired;
  const objects = isLeftOut ? [] : renderDirectory(renderer ?? ["kubectl", "kustomize"], `k8s/${directory}`);
  const of = <T extends Manifest>(...kinds: string[]): T[] =>
    objects.filter(({ kind }) => kinds.includes(kind)) as T[];
  const workloads = of<Workload>("Deployment", "StatefulSet");
  const ours = workloads.filter(({ metadata }) => isImageName(metadata.name));
  const containersOf = ({ spec }: Workload): Container[] => [
    ...(spec.template.spec.initContainers ?? []),
    ...spec.template.spec.containers,
  ];
  const matching = (selector: Selector): Workload[] =>
    workloads.filter(({ spec }) => matches(selector, spec.template.metadata.labels));
  const containerPorts = (all: readonly Workload[]): (string | number)[] =>
    all
      .flatMap(containersOf)
      .flatMap(({ ports = [] }) => ports.flatMap((one) => [one.name, one.containerPort]));

  /** What a container finds in its environment; what comes from outside as "". */
  function environmentOf(container: Container): Record<string, string> {
    const maps = new Map(
      of<Manifest & { readonly data: Record<string, string> }>("ConfigMap").map((one) => [
        one.metadata.name,
        one,
      ]),
    );
    const environment: Record<string, string> = {};
    for (const { configMapRef } of container.envFrom ?? []) {
      const map = maps.get(configMapRef.name);
      if (map === undefined) throw new Error(`there is no ConfigMap ${configMapRef.name}`);
      Object.assign(environment, map.data);
    }
    for (const { name, value } of container.env ?? []) environment[name] = value ?? "";
    return environment;
  }

  test("is taken by the API servers, strictly", () => {
    expect(objects.flatMap(checkManifest)).toEqual([]);
    const names = objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    expect(new Set(names).size).toBe(names.length);
    const [namespace] = of("Namespace");
    for (const { kind, metadata } of objects) {
      if (kind !== "Namespace") expect(metadata.namespace, metadata.name).toBe(namespace?.metadata.name);
    }
  });

  test("has what it is for", () => {
    const names = workloads.map(({ metadata }) => metadata.name).sort();
    const services = ["auth", "collect", "dispatch", "push-node"];
    expect(names).toEqual(
      directory === "overlays/dev" ? ["apns-simulator", ...services, "console", "redis"].sort() : services,
    );
    const counts = Object.fromEntries(
      ["HorizontalPodAutoscaler", "ServiceMonitor", "HTTPRoute", "Ingress"].map((kind) => [
        kind,
        of(kind).length,
      ]),
    );
    expect(counts).toEqual(
      {
        base: { HorizontalPodAutoscaler: 4, ServiceMonitor: 1, HTTPRoute: 0, Ingress: 0 },
        "overlays/dev": { HorizontalPodAutoscaler: 0, ServiceMonitor: 0, HTTPRoute: 0, Ingress: 0 },
        "overlays/production": { HorizontalPodAutoscaler: 4, ServiceMonitor: 1, HTTPRoute: 3, Ingress: 0 },
        "overlays/nginx-ingress": { HorizontalPodAutoscaler: 4, ServiceMonitor: 1, HTTPRoute: 0, Ingress: 2 },
      }[directory],
    );
    expect(of("PodDisruptionBudget")).toHaveLength(4);
  });

  test("every container is nobody's, and cannot write", () => {
    for (const workload of workloads) {
      const { name } = workload.metadata;
      const pod = workload.spec.template.spec;
      expect(pod.automountServiceAccountToken, name).toBe(false);
      expect(pod.hostNetwork, name).toBeUndefined();
      expect(pod.securityContext.runAsNonRoot, name).toBe(true);
      expect(pod.securityContext.runAsUser, name).toBeGreaterThan(100);
      expect(pod.securityContext.runAsGroup, name).toBeGreaterThan(100);
      expect(pod.securityContext.seccompProfile.type, name).toBe("RuntimeDefault");
      for (const { securityContext, resources, volumeMounts = [], image } of containersOf(workload)) {
        expect(securityContext.allowPrivilegeEscalation, name).toBe(false);
        expect(securityContext.readOnlyRootFilesystem, name).toBe(true);
        expect(securityContext.capabilities, name).toEqual({ drop: ["ALL"] });
        expect(resources.requests, name).toMatchObject({ cpu: expect.anything(), memory: expect.anything() });
        expect(resources.limits, name).toHaveProperty("memory");
        // The base leaves it to overlays.
        if (directory !== "base") expect(image, name).toMatch(/:\d+\.\d+\.\d+(-\w+)?$/);
        for (const mount of volumeMounts) {
          expect(mount.readOnly === true || mount.mountPath === "/data", `${name} ${mount.name}`).toBe(true);
          const found = (pod.volumes ?? []).some((volume) => volume.name === mount.name);
          expect(found || mount.mountPath === "/data", `${name} ${mount.name}`).toBe(true);
        }
      }
    }
  });

  test("a pod has the time that its stop takes: preStop, the drain window, and ten seconds", () => {
    const graces = ours.map((workload) => {
      const [container] = containersOf(workload);
      if (container === undefined) throw new Error(`${workload.metadata.name} has no container`);
      const stopMs = stopDeadlineMs(workload.metadata.name as ImageName, environmentOf(container));
      const preStopSeconds = container.lifecycle?.preStop?.sleep?.seconds ?? 0;
      const grace = workload.spec.template.spec.terminationGracePeriodSeconds;
      expect(grace, workload.metadata.name).toBeGreaterThanOrEqual(preStopSeconds + stopMs / 1000);
      return [workload.metadata.name, grace, preStopSeconds];
    });
    expect(graces.find(([name]) => name === "push-node")?.[2]).toBeGreaterThan(0);
  });

  test("a rollout takes none away before another is there", () => {
    for (const { metadata, spec } of of<Workload>("Deployment")) {
      if (["console", "apns-simulator"].includes(metadata.name)) continue;
      expect(spec.strategy?.rollingUpdate.maxUnavailable, metadata.name).toBe(0);
      expect(spec.strategy?.rollingUpdate.maxSurge, metadata.name).toBeGreaterThan(0);
      expect(spec.template.spec.topologySpreadConstraints?.length, metadata.name).toBeGreaterThan(0);
      for (const { labelSelector } of spec.template.spec.topologySpreadConstraints ?? []) {
        expect(matching(labelSelector).map((one) => one.metadata.name)).toEqual([metadata.name]);
      }
    }
  });

  test("configures each with what it reads, and nothing else", () => {
    for (const workload of ours) {
      const image = workload.metadata.name as ImageName;
      for (const container of containersOf(workload)) {
        const environment = environmentOf(container);
        expect(problemsOf(image, environment)).toEqual([]);
        const { PORT, METRICS_PORT } = environment;
        const ports = Object.fromEntries((container.ports ?? []).map((one) => [one.name, one.containerPort]));
        expect(ports["http"], image).toBe(Number(PORT));
        if (METRICS_PORT !== undefined) expect(ports["metrics"], image).toBe(Number(METRICS_PORT));
        const required = Object.values(settingsOf[image])
          .filter(({ setting }) => !("default" in setting))
          .map(({ env }) => env);
        expect(Object.keys(environment), image).toEqual(expect.arrayContaining(required));
        // A file that is named is mounted.
        const files = (container.volumeMounts ?? []).flatMap((mount) => {
          const volume = workload.spec.template.spec.volumes?.find(({ name }) => name === mount.name);
          return (volume?.secret?.items ?? []).map(({ path }) => `${mount.mountPath}/${path}`);
        });
        for (const [name, value] of Object.entries(environment)) {
          if (name.endsWith("_FILE")) expect(files, `${image} ${name}`).toContain(value);
        }
      }
    }
    // Same data, same partitions: the services would refuse to start otherwise.
    const partitions = ours.flatMap(containersOf).flatMap((one) => environmentOf(one)["PARTITIONS"] ?? []);
    expect(new Set(partitions).size).toBe(1);
  });

  test("names nodes and dispatchers after their pods", () => {
    for (const workload of ours) {
      if (!["push-node", "dispatch"].includes(workload.metadata.name)) continue;
      const [name] = containersOf(workload).flatMap(({ env = [] }) =>
        env.filter((one) => one.name === "NODE_NAME"),
      );
      expect(name?.valueFrom?.fieldRef?.fieldPath).toBe("metadata.name");
    }
  });

  test("asks each, in the right way, whether it lives and is ready", () => {
    for (const workload of ours) {
      for (const container of containersOf(workload)) {
        const { startupProbe, readinessProbe, livenessProbe } = container;
        expect(readinessProbe?.httpGet?.path, container.name).toBe("/health/ready");
        // Redis away is no reason to be restarted.
        for (const probe of [startupProbe, livenessProbe]) {
          if (probe !== undefined) expect(probe.httpGet?.path, container.name).toBe("/health/live");
        }
        for (const probe of [startupProbe, readinessProbe, livenessProbe]) {
          if (probe !== undefined)
            expect(container.ports?.map(({ name }) => name)).toContain(probe.httpGet?.port);
        }
      }
    }
  });

  test("services, routes and monitors lead to ports that are there", () => {
    const services = new Map(of<Service>("Service").map((one) => [one.metadata.name, one]));
    for (const { metadata, spec } of services.values()) {
      const pods = matching({ matchLabels: spec.selector });
      expect(pods, metadata.name).toHaveLength(1);
      for (const { targetPort } of spec.ports)
        expect(containerPorts(pods), metadata.name).toContain(targetPort);
    }
    const portsOf = (name: string): (string | number)[] =>
      services.get(name)?.spec.ports.flatMap((one) => [one.name, one.port]) ?? [];
    for (const { spec } of of<Route>("HTTPRoute")) {
      for (const { backendRefs } of spec.rules) {
        for (const { name, port } of backendRefs) expect(portsOf(name)).toContain(port);
      }
    }
    for (const { spec } of of<Ingress>("Ingress")) {
      for (const { backend } of spec.rules.flatMap(({ http }) => http.paths)) {
        expect(portsOf(backend.service.name)).toContain(backend.service.port.name);
      }
    }
    type Monitor = Manifest & {
      readonly spec: {
        readonly selector: Selector;
        readonly endpoints: readonly { readonly port: string }[];
      };
    };
    for (const { spec } of of<Monitor>("ServiceMonitor")) {
      const watched = [...services.values()].filter(({ metadata }) =>
        matches(spec.selector, metadata.labels ?? {}),
      );
      expect(watched.map(({ metadata }) => metadata.name).sort()).toEqual([
        "auth",
        "collect",
        "dispatch",
        "push-node",
      ]);
      for (const { metadata } of watched) {
        for (const { port } of spec.endpoints) expect(portsOf(metadata.name)).toContain(port);
      }
    }
    // URLs of one another within the cluster.
    for (const environment of ours.flatMap(containersOf).map(environmentOf)) {
      for (const [name, value] of Object.entries(environment)) {
        if (!/_(URL|ENDPOINT)$/.test(name) || value === "") continue;
        const { hostname, port } = new URL(value);
        expect(portsOf(hostname), `${name}=${value}`).toContain(Number(port));
      }
    }
  });

  test("policies choose pods that are there, and ports that they have; all else is closed", () => {
    const policies = of<Policy>("NetworkPolicy");
    const closed = policies.find(({ metadata }) => metadata.name === "default-deny");
    expect(closed?.spec.policyTypes).toEqual(["Ingress", "Egress"]);
    expect([closed?.spec.ingress, closed?.spec.egress]).toEqual([undefined, undefined]);
    for (const { metadata, spec } of policies) {
      const pods = matching(spec.podSelector);
      expect(pods.length, metadata.name).toBeGreaterThan(0);
      const chosen = (spec.podSelector.matchExpressions ?? []).flatMap(({ values = [] }) => values);
      if (chosen.length > 0) expect(pods.map((one) => one.metadata.name).sort()).toEqual([...chosen].sort());
      for (const { from = [], ports = [] } of spec.ingress ?? []) {
        expect(from.length, metadata.name).toBeGreaterThan(0);
        for (const { port } of ports) {
          for (const pod of pods) expect(containerPorts([pod]), metadata.name).toContain(port);
        }
      }
      for (const { to = [], ports = [] } of spec.egress ?? []) {
        expect(to.length, metadata.name).toBeGreaterThan(0);
        const inside = to.flatMap(({ podSelector }) =>
          podSelector === undefined ? [] : matching(podSelector),
        );
        if (inside.length > 0) {
          for (const { port } of ports.slice(0, 1))
            expect(containerPorts(inside), metadata.name).toContain(port);
        }
      }
      const peers = [...(spec.ingress ?? []), ...(spec.egress ?? [])].flatMap(({ from = [], to = [] }) => [
        ...from,
        ...to,
      ]);
      for (const { podSelector } of peers) {
        if (podSelector !== undefined) expect(matching(podSelector).length, metadata.name).toBeGreaterThan(0);
      }
    }
  });

  /** Whether pods of `from` may open connections to `port` of `to`: one has to let out, the other in. */
  function mayReach(from: string, to: string, port: number): boolean {
    const policies = of<Policy>("NetworkPolicy");
    const find = (name: string) => workloads.find(({ metadata }) => metadata.name === name);
    const labelsOf = (name: string) => find(name)?.spec.template.metadata.labels ?? {};
    const target = find(to);
    const names = target === undefined ? [] : containersOf(target).flatMap(({ ports = [] }) => ports);
    const isPort = (one: string | number): boolean =>
      one === port || names.some(({ name, containerPort }) => name === one && containerPort === port);
    const allows = (
      rules: readonly PolicyRule[],
      peersOf: (rule: PolicyRule) => readonly PolicyPeer[],
      other: string,
    ) =>
      rules.some(
        (rule) =>
          (rule.ports ?? []).some((one) => isPort(one.port)) &&
          peersOf(rule).some(
            ({ podSelector }) => podSelector !== undefined && matches(podSelector, labelsOf(other)),
          ),
      );
    const rulesOf = (name: string, kind: "ingress" | "egress"): PolicyRule[] =>
      policies
        .filter(({ spec }) => matches(spec.podSelector, labelsOf(name)))
        .flatMap(({ spec }) => spec[kind] ?? []);
    return (
      allows(rulesOf(from, "egress"), ({ to: peers = [] }) => peers, to) &&
      allows(rulesOf(to, "ingress"), ({ from: peers = [] }) => peers, from)
    );
  }

  test("whoever is told of another may reach it, and nobody else", () => {
    expect(mayReach("push-node", "auth", 7101)).toBe(true);
    expect(mayReach("collect", "auth", 7101)).toBe(false);
    expect(mayReach("push-node", "auth", 9464)).toBe(false);
    expect(mayReach("collect", "dispatch", 7103)).toBe(false);
    if (directory !== "overlays/dev") return;
    for (const name of ["auth", "collect", "dispatch", "push-node"]) {
      expect(mayReach(name, "redis", 6379), name).toBe(true);
    }
    expect(mayReach("console", "redis", 6379)).toBe(false);
    expect(mayReach("console", "auth", 7101)).toBe(true);
    expect(mayReach("console", "collect", 7102)).toBe(true);
    expect(mayReach("console", "apns-simulator", 7104)).toBe(true);
    expect(mayReach("dispatch", "apns-simulator", 7106)).toBe(true);
    expect(mayReach("dispatch", "apns-simulator", 7104)).toBe(false);
  });

  test("metrics are for the monitoring's namespace alone", () => {
    const open = of<Policy>("NetworkPolicy").flatMap(({ spec }) =>
      (spec.ingress ?? []).filter(({ ports = [] }) =>
        ports.some(({ port }) => port === "metrics" || port === 9464),
      ),
    );
    expect(open.map(({ from }) => from)).toEqual([
      [{ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "monitoring" } } }],
    ]);
  });

  test("budgets and autoscalers are of deployments that are there", () => {
    for (const { metadata, spec } of of<Workload>("PodDisruptionBudget")) {
      expect(matching(spec.selector).map((one) => one.metadata.name)).toEqual([metadata.name]);
    }
    const metricNames = new Set(
      readSources()
        .filter(({ path, isTest }) => !isTest && /^(services|shared)\//.test(path))
        .flatMap(({ text }) => [...text.matchAll(/"(petrel_[a-z_]+)"/g)].map(([, name]) => name)),
    );
    const adapter = readFileSync(join(root, "k8s/prometheus-adapter/config-map.yaml"), "utf8");
    for (const { metadata, spec } of of<Autoscaler>("HorizontalPodAutoscaler")) {
      const target = workloads.find((one) => one.metadata.name === spec.scaleTargetRef.name);
      expect(target?.kind, metadata.name).toBe(spec.scaleTargetRef.kind);
      // Else each `apply` would undo what the autoscaler has done.
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

  test("push nodes: fast up, slow down, and a drain that the others can take", () => {
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
      // docs/drain-and-reconnect.md: clients of one node ÷ window, below CONNECTS_PER_SECOND.
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

  test("no way in ends a socket that lives", () => {
    const pingSeconds = Number(settingsOf["push-node"]["pingSeconds"]?.setting.default);
    for (const { spec } of of<Route>("HTTPRoute")) {
      for (const { matches: paths, timeouts } of spec.rules) {
        if (paths.some(({ path }) => path.value === "/v1/connect")) {
          expect(timeouts).toEqual({ request: "0s", backendRequest: "0s" });
        } else expect(timeouts.request).toMatch(/^[1-9]\d*s$/);
      }
    }
    const sockets = of<Ingress>("Ingress").filter(({ spec }) =>
      spec.rules.some(({ http }) => http.paths.some(({ path }) => path === "/v1/connect")),
    );
    expect(sockets).toHaveLength(directory === "overlays/nginx-ingress" ? 1 : 0);
    for (const { metadata } of sockets) {
      const timeout = metadata.annotations?.["nginx.ingress.kubernetes.io/proxy-read-timeout"];
      expect(Number(timeout)).toBeGreaterThan(2 * pingSeconds);
    }
  });
});

describe("the checks themselves", () => {
  test("a field that is not there, a value of another type and an unknown kind are refused", () => {
    const budget = (spec: unknown): Manifest =>
      ({
        apiVersion: "policy/v1",
        kind: "PodDisruptionBudget",
        metadata: { name: "a" },
        spec,
      }) as unknown as Manifest;
    expect(checkManifest(budget({ maxUnavailable: 1, selector: {} }))).toEqual([]);
    expect(checkManifest(budget({ maxUnavailabel: 1 }))).not.toEqual([]);
    expect(checkManifest(budget({ maxUnavailable: {} }))).not.toEqual([]);
    expect(checkManifest({ apiVersion: "v1", kind: "Pod", metadata: { name: "a" } })).not.toEqual([]);
    expect(checkManifest({ ...budget({}), metadata: { name: "a", lables: {} } } as Manifest)).not.toEqual([]);
  });

  test("what the autoscalers need of the metrics adapter is a ConfigMap of it", () => {
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
});
