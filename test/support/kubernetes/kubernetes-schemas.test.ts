// Tests that the check of manifests refuses what an API server would: of Kubernetes' own kinds, and of the CRDs in use.
import { expect, test } from "vitest";
import { createManifestCheck } from "./kubernetes-schemas.js";

const check = createManifestCheck();
const metadata = { name: "one", namespace: "petrel" };

const good = {
  service: {
    apiVersion: "v1",
    kind: "Service",
    metadata,
    spec: { selector: { app: "a" }, ports: [{ port: 80, targetPort: "http" }] },
  },
  monitor: {
    apiVersion: "monitoring.coreos.com/v1",
    kind: "ServiceMonitor",
    metadata,
    spec: { selector: { matchLabels: { app: "a" } }, endpoints: [{ port: "metrics", interval: "15s" }] },
  },
  rule: {
    apiVersion: "monitoring.coreos.com/v1",
    kind: "PrometheusRule",
    metadata,
    spec: { groups: [{ name: "g", rules: [{ alert: "A", expr: "up == 0", for: "1m" }] }] },
  },
  route: {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "HTTPRoute",
    metadata,
    spec: { hostnames: ["a.example.com"], rules: [{ backendRefs: [{ name: "a", port: 80 }] }] },
  },
};

test.each(Object.entries(good))("valid: %s", (_name, manifest) => {
  expect(check(manifest)).toEqual([]);
});

test.each<readonly [string, object]>([
  ["an unknown field", { ...good.service, spec: { ...good.service.spec, sessionAfinity: "None" } }],
  ["an unknown field, deep inside", { ...good.service, spec: { ports: [{ port: 80, target: "http" }] } }],
  ["a wrong type", { ...good.service, spec: { ports: [{ port: "80" }] } }],
  ["a label that is not a string", { ...good.service, metadata: { ...metadata, labels: { a: 1 } } }],
  ["an unknown kind", { ...good.service, kind: "Servise" }],
  ["a version that is not served", { ...good.route, apiVersion: "gateway.networking.k8s.io/v1alpha2" }],
  ["an unknown field of a CRD's", { ...good.monitor, spec: { ...good.monitor.spec, endpoint: [] } }],
  [
    "an unknown field of a CRD's, deep inside",
    { ...good.monitor, spec: { ...good.monitor.spec, endpoints: [{ ports: "metrics" }] } },
  ],
  ["a CRD's label that is not a string", { ...good.monitor, metadata: { ...metadata, labels: { a: 1 } } }],
  ["a missing CRD field", { ...good.monitor, spec: { endpoints: [] } }],
  [
    "an invalid duration",
    { ...good.rule, spec: { groups: [{ name: "g", rules: [{ expr: "1", for: "soon" }] }] } },
  ],
  ["an invalid name", { ...good.route, spec: { hostnames: ["a_b"] } }],
])("refused: %s", (_name, manifest) => {
  expect(check(manifest as (typeof good)["service"])).not.toEqual([]);
});
