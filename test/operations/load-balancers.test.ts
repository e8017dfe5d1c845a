// Reads the YAML of docs/operate/load-balancers.md. The clouds that take it are not here.
// Guarantees: what are values of the chart is taken by its schema; Kubernetes' own kinds are valid; ports, services and
// paths are Petrel's; timeouts leave a pinged socket alone, and drains last as long as a node's.
import { readFileSync } from "node:fs";
import { Ajv } from "ajv";
import { expect, test } from "vitest";
import { valuesSchema } from "../support/helm/values-schema.js";
import { createManifestCheck } from "../support/kubernetes/kubernetes-schemas.js";
import { parseManifests, type Manifest } from "../support/kubernetes/render-overlay.js";
import { problemsOf, settingsOf } from "../support/containers/service-settings.js";

const page = readFileSync(new URL("../../docs/operate/load-balancers.md", import.meta.url), "utf8");
const blocks = [...page.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].flatMap(([, text = ""]) =>
  parseManifests(text),
);
const isObject = (one: Manifest): boolean => one.apiVersion !== undefined;
const portOf = (service: "auth" | "collect" | "push-node"): number =>
  Number(settingsOf[service]["port"]?.setting.default);

test("values fit the chart, and proxies' addresses are valid", () => {
  const isValid = new Ajv({ strict: false, code: { optimize: false } }).compile(valuesSchema());
  const values = blocks.filter((one) => !isObject(one)) as unknown as { settings: Record<string, string> }[];
  expect(values).toHaveLength(3);
  for (const one of values) {
    isValid(one);
    expect(isValid.errors).toBeNull();
    expect(problemsOf("push-node", one.settings)).toEqual([]);
  }
});

test("objects name Petrel's services and ports; Kubernetes' own are valid", () => {
  const objects = blocks.filter(isObject);
  expect(objects.map(({ kind }) => kind)).toEqual([
    "GCPBackendPolicy",
    "HealthCheckPolicy",
    "Ingress",
    "CiliumNetworkPolicy",
  ]);
  const check = createManifestCheck();
  expect(objects.filter(({ kind }) => kind === "Ingress").flatMap(check)).toEqual([]);
  const text = JSON.stringify(objects);
  expect(text.match(/"requestPath":"\/health\/ready"/g)).toHaveLength(1);
  expect(text).toContain(`"port":${portOf("push-node")},`);
  for (const service of ["auth", "collect", "push-node"] as const)
    expect(text).toContain(`"port":"${portOf(service)}"`);
});

test("no timeout is shorter than two pings, and no drain is shorter than a node's", () => {
  const pingSeconds = Number(settingsOf["push-node"]["pingSeconds"]?.setting.default);
  const drainSeconds = 60 + 15 + 10;
  const idle = Number(/idle_timeout\.timeout_seconds=(\d+)/.exec(page)?.[1]);
  expect(idle).toBeGreaterThan(2 * pingSeconds);
  const drains = [...page.matchAll(/(?:drainingTimeoutSec: |deregistration_delay\.timeout_seconds=)(\d+)/g)];
  expect(drains).toHaveLength(2);
  for (const [, seconds] of drains) expect(Number(seconds)).toBeGreaterThanOrEqual(drainSeconds);
  // The page says it of the whole life of a socket.
  expect(Number(/timeoutSec: (\d+)/.exec(page)?.[1])).toBe(86_400);
});
