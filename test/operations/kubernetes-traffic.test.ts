// Renders k8s/ and follows who may talk to whom, and through which entry.
// Guarantees: every port or label that is named exists; everything is closed unless named; no entry ends a live socket.
import { describe, expect, test } from "vitest";
import {
  matches,
  type Ingress,
  type Policy,
  type PolicyPeer,
  type PolicyRule,
  type Route,
  type Selector,
  type Service,
} from "../support/kubernetes/kubernetes-objects.js";
import { type Manifest } from "../support/kubernetes/render-overlay.js";
import {
  directories,
  isToBeRendered,
  readRendered,
  withWayIn,
} from "../support/kubernetes/rendered-directory.js";
import { servicesFor } from "../support/kubernetes/routed-requests.js";
import { settingsOf } from "../support/containers/service-settings.js";

describe.runIf(isToBeRendered()).each(directories)("k8s/%s", (directory) => {
  const { of, workloads, ours, containersOf, matching, containerPorts, environmentOf } =
    readRendered(directory);

  test("services, routes and monitors point to existing ports", () => {
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
    // Their URLs for one another within the cluster.
    for (const environment of ours.flatMap(containersOf).map(environmentOf)) {
      for (const [name, value] of Object.entries(environment)) {
        if (!/_(URL|ENDPOINT)$/.test(name) || value === "") continue;
        const { hostname, port } = new URL(value);
        expect(portsOf(hostname), `${name}=${value}`).toContain(Number(port));
      }
    }
  });

  test("policies select existing pods and their ports; everything else is closed", () => {
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

  /** Whether pods of `from` may open connections to `port` of `to`: one side must allow egress, the other ingress. */
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

  test("DNS works, also through a cache on the node", () => {
    const dns = of<Policy>("NetworkPolicy").find(({ metadata }) => metadata.name === "dns");
    expect(dns?.spec.podSelector).toEqual({});
    const [rule] = dns?.spec.egress ?? [];
    expect(rule?.ports?.map(({ port }) => port)).toEqual([53, 53]);
    // NodeLocal DNSCache listens on the machine's own network, which no namespace selector matches.
    expect(rule?.to?.map(({ ipBlock }) => ipBlock?.cidr)).toContain("169.254.20.10/32");
  });

  test("each service may reach those it is configured for, and nobody else", () => {
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

  test("only the monitoring namespace may read metrics", () => {
    const open = of<Policy>("NetworkPolicy").flatMap(({ spec }) =>
      (spec.ingress ?? []).filter(({ ports = [] }) =>
        ports.some(({ port }) => port === "metrics" || port === 9464),
      ),
    );
    expect(open.map(({ from }) => from)).toEqual([
      [{ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "monitoring" } } }],
    ]);
  });

  test.runIf(withWayIn.includes(directory))("public routes have an ingress; operators' have none", () => {
    const waysIn = { routes: of<Route>("HTTPRoute"), ingresses: of<Ingress>("Ingress") };
    const servicesAsked = (service: string, line: string): string[] => {
      const [method = "", path = ""] = line.split(" ");
      return servicesFor(waysIn, { host: `${service}.example.com`, method, path });
    };
    const open = {
      auth: [
        "POST /v1/tokens",
        "POST /v1/tokens/refresh",
        "POST /v1/tokens/revoke",
        "POST /v1/tickets",
        "POST /v1/introspect",
        "PUT /v1/devices",
        "DELETE /v1/devices/d",
        "PUT /v1/users/ada/devices",
        "GET /v1/users/ada/devices",
        "DELETE /v1/users/ada/devices/d",
        "GET /v1/web-push-key",
        "GET /.well-known/jwks.json",
      ],
      collect: [
        "POST /v1/messages",
        "POST /v1/messages/batch",
        "GET /v1/messages/p1_m",
        "DELETE /v1/messages/p1_m",
        "GET /v1/users/a@b:c/messages",
        "GET /v1/users/ada/presence",
        "GET /v1/topics/news/presence",
        "GET /v1/users/ada/topics",
        "PUT /v1/users/ada/topics/news",
        "DELETE /v1/users/ada/topics/news",
        "GET /v1/presence",
        "GET /v1/events",
      ],
      push: ["GET /v1/connect"],
    };
    for (const [host, asked] of Object.entries(open)) {
      const service = host === "push" ? "push-node" : host;
      for (const line of asked) expect(servicesAsked(host, line), line).toEqual([service]);
    }
    const closed = {
      auth: ["GET /v1/keys", "POST /v1/signing-keys/rotate", "GET /v1/audit", "GET /metrics"],
      collect: [
        "DELETE /v1/users/ada",
        "GET /v1/nodes",
        "GET /v1/channels",
        "GET /v1/diagnosis",
        "POST /v1/users/ada/disconnect",
        "DELETE /v1/users/messages",
        "DELETE /V1/USERS/ada",
        "GET /v1/dead-letters",
        "GET /v1/webhooks",
        "GET /metrics",
      ],
      push: ["GET /metrics"],
    };
    for (const [host, asked] of Object.entries(closed)) {
      for (const line of asked) expect(servicesAsked(host, line), line).toEqual([]);
    }
  });

  test("Ingresses that share a certificate name the same hosts", () => {
    const hostsBySecret = new Map<string, Set<string>>();
    for (const { hosts, secretName } of of<Ingress>("Ingress").flatMap(({ spec }) => spec.tls))
      hostsBySecret.set(
        secretName,
        (hostsBySecret.get(secretName) ?? new Set()).add([...hosts].sort().join(" ")),
      );
    for (const [secretName, hosts] of hostsBySecret) expect([...hosts], secretName).toHaveLength(1);
  });

  test("no ingress ends a live socket", () => {
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
    expect(sockets).toHaveLength(/ingress|without-crds/.test(directory) ? 1 : 0);
    for (const { metadata, spec } of sockets) {
      // Traefik counts nothing once a socket is upgraded.
      if (spec.ingressClassName === "traefik") continue;
      const timeout = metadata.annotations?.["nginx.ingress.kubernetes.io/proxy-read-timeout"];
      expect(Number(timeout)).toBeGreaterThan(2 * pingSeconds);
    }
  });
});
