// Renders k8s/ and checks its pods. No cluster is needed.
// Guarantees: API servers accept every object; every container runs as nobody and cannot write; a pod has the time that
// its stop takes, and only settings that its program reads.
import { describe, expect, test } from "vitest";
import { type Workload } from "../support/kubernetes/kubernetes-objects.js";
import { createManifestCheck } from "../support/kubernetes/kubernetes-schemas.js";
import { type Manifest } from "../support/kubernetes/render-overlay.js";
import {
  directories,
  isToBeRendered,
  readRendered,
  withWayIn,
} from "../support/kubernetes/rendered-directory.js";
import {
  problemsOf,
  settingsOf,
  stopDeadlineMs,
  type ImageName,
} from "../support/containers/service-settings.js";

const checkManifest = createManifestCheck();

describe.runIf(isToBeRendered()).each(directories)("k8s/%s", (directory) => {
  const { objects, of, workloads, ours, containersOf, matching, environmentOf } = readRendered(directory);

  test("is accepted by the API servers, strictly", () => {
    expect(objects.flatMap(checkManifest)).toEqual([]);
    const names = objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    expect(new Set(names).size).toBe(names.length);
    const [namespace] = of("Namespace");
    for (const { kind, metadata } of objects) {
      if (kind !== "Namespace") expect(metadata.namespace, metadata.name).toBe(namespace?.metadata.name);
    }
  });

  test("has its intended content", () => {
    const names = workloads.map(({ metadata }) => metadata.name).sort();
    const services = ["auth", "collect", "dispatch", "push-node"];
    expect(names).toEqual(
      directory === "overlays/dev" ? ["apns-simulator", ...services, "console", "redis"].sort() : services,
    );
    const counts = Object.fromEntries(
      ["HorizontalPodAutoscaler", "ServiceMonitor", "PrometheusRule", "HTTPRoute", "Ingress"].map((kind) => [
        kind,
        of(kind).length,
      ]),
    );
    const isIn = (...some: (typeof directories)[number][]) => some.includes(directory);
    const hasOperator = !isIn("base", "overlays/dev", "overlays/without-crds");
    expect(counts).toEqual({
      HorizontalPodAutoscaler: isIn("overlays/dev") ? 0 : 4,
      ServiceMonitor: hasOperator ? 1 : 0,
      PrometheusRule: hasOperator ? 1 : 0,
      HTTPRoute: isIn("overlays/production", "overlays/everything") ? 3 : 0,
      Ingress: isIn("overlays/nginx-ingress")
        ? 4
        : isIn("overlays/traefik-ingress", "overlays/without-crds")
          ? 3
          : 0,
    });
    // The base, and what is made for clusters without CRDs, ask for none.
    const builtIn = /^(v1|(apps|autoscaling|policy|networking\.k8s\.io)\/v\d)$/;
    const foreign = objects.filter(({ apiVersion }) => !builtIn.test(apiVersion));
    if (isIn("base", "overlays/dev", "overlays/without-crds")) expect(foreign).toEqual([]);
    else expect(foreign.length).toBeGreaterThan(0);
    expect(of("PodDisruptionBudget")).toHaveLength(4);
    // Those without sockets never block a node drain by being unready.
    const policies = of<Manifest & { readonly spec: { readonly unhealthyPodEvictionPolicy?: string } }>(
      "PodDisruptionBudget",
    ).map(({ metadata, spec }) => [metadata.name, spec.unhealthyPodEvictionPolicy]);
    expect(Object.fromEntries(policies)).toEqual({
      auth: "AlwaysAllow",
      collect: "AlwaysAllow",
      dispatch: "AlwaysAllow",
      "push-node": undefined,
    });
  });

  test("every container is unprivileged and read-only", () => {
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

  test("a pod has the time its stop takes: preStop, the drain window, and ten seconds", () => {
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

  test("a rollout removes no pod before another is ready", () => {
    for (const { metadata, spec } of of<Workload>("Deployment")) {
      if (["console", "apns-simulator"].includes(metadata.name)) continue;
      expect(spec.strategy?.rollingUpdate.maxUnavailable, metadata.name).toBe(0);
      expect(spec.strategy?.rollingUpdate.maxSurge, metadata.name).toBe(
        metadata.name === "push-node" ? "50%" : 1,
      );
      const spread = spec.template.spec.topologySpreadConstraints ?? [];
      // The loss of a machine, or of a zone, takes no service whole.
      expect(
        spread.map(({ topologyKey, maxSkew }) => [topologyKey, maxSkew]),
        metadata.name,
      ).toEqual([
        ["kubernetes.io/hostname", 1],
        ["topology.kubernetes.io/zone", 1],
      ]);
      for (const { labelSelector } of spread) {
        expect(matching(labelSelector).map((one) => one.metadata.name)).toEqual([metadata.name]);
      }
    }
  });

  test("gives each service what it reads, and nothing else", () => {
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
        // Every named file is mounted.
        const files = (container.volumeMounts ?? []).flatMap((mount) => {
          const volume = workload.spec.template.spec.volumes?.find(({ name }) => name === mount.name);
          const items = volume?.secret?.items ?? volume?.configMap?.items ?? [];
          return items.map(({ path }) => `${mount.mountPath}/${path}`);
        });
        for (const [name, value] of Object.entries(environment)) {
          if (name.endsWith("_FILE")) expect(files, `${image} ${name}`).toContain(value);
        }
      }
    }
    // Limits are per address: without this all clients would share the entry's.
    if (withWayIn.includes(directory)) {
      for (const environment of ours.flatMap(containersOf).map(environmentOf)) {
        expect(environment["TRUSTED_PROXIES"]).toMatch(/./);
      }
    }
    // Same data, same partitions: otherwise the services would refuse to start.
    const partitions = ours.flatMap(containersOf).flatMap((one) => environmentOf(one)["PARTITIONS"] ?? []);
    expect(new Set(partitions).size).toBe(1);
  });

  test.runIf(directory === "overlays/dev")(
    "Redis takes its users from a secret, and so do the services",
    () => {
      const [redis] = workloads.filter(({ metadata }) => metadata.name === "redis");
      const [container] = redis === undefined ? [] : containersOf(redis);
      const words = container?.args ?? [];
      const file = words[words.indexOf("--aclfile") + 1];
      const [mount] = (container?.volumeMounts ?? []).filter(({ mountPath }) => mountPath !== "/data");
      const volume = redis?.spec.template.spec.volumes?.find(({ name }) => name === mount?.name);
      expect(file).toBe(`${mount?.mountPath}/${volume?.secret?.items[0]?.path}`);
      expect(of("Secret")).toEqual([]);
    },
  );

  test("names nodes and dispatchers after their pods", () => {
    for (const workload of ours) {
      if (!["push-node", "dispatch"].includes(workload.metadata.name)) continue;
      const [name] = containersOf(workload).flatMap(({ env = [] }) =>
        env.filter((one) => one.name === "NODE_NAME"),
      );
      expect(name?.valueFrom?.fieldRef?.fieldPath).toBe("metadata.name");
    }
  });

  test("probes each service's liveness and readiness correctly", () => {
    for (const workload of ours) {
      for (const container of containersOf(workload)) {
        const { startupProbe, readinessProbe, livenessProbe } = container;
        expect(readinessProbe?.httpGet?.path, container.name).toBe("/health/ready");
        // A missing Redis is no reason for a restart.
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
});

describe("the schemas", () => {
  test("refuse an unknown field, a value of another type and an unknown kind", () => {
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
});
