// Tests only: what the chart's values may be. Made from the services' own schemas, so that a variable that no service
// reads, or a value under a wrong name, is refused before anything is rendered.
import type { Schema } from "@petrel/shared/kernel/config";
import { authConfigSchema } from "../../../services/auth/src/config.js";
import { collectConfigSchema } from "../../../services/collect/src/config.js";
import { dispatchSettings } from "../../../services/dispatch/src/config.js";
import { pushNodeSettings } from "../../../services/push-node/src/config.js";

export const chartServices: Readonly<Record<string, Schema>> = {
  auth: authConfigSchema,
  collect: collectConfigSchema,
  dispatch: dispatchSettings,
  "push-node": pushNodeSettings,
};

/** Set by the chart itself: ports and names that its objects share, and the files of Secrets that every cluster has. */
export const fixedVariables: readonly string[] = [
  "HOST",
  "PORT",
  "NODE_NAME",
  "METRICS_HOST",
  "METRICS_PORT",
  "REDIS_URL",
  "KEY_ENCRYPTION_FILE",
  "PRODUCER_KEYS_FILE",
  "TOPICS_FILE",
  // A root that is only read has no place for it.
  "TRACE_FILE",
];

/** A variable -> the services that read it, and what it means. */
export function variables(): Map<string, { readonly services: string[]; readonly describe: string }> {
  const found = new Map<string, { readonly services: string[]; readonly describe: string }>();
  for (const [service, schema] of Object.entries(chartServices)) {
    for (const { env, setting } of Object.values(schema)) {
      const one = found.get(env) ?? { services: [], describe: setting.describe };
      one.services.push(service);
      found.set(env, one);
    }
  }
  return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)));
}

export interface ValueSchema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly properties?: Readonly<Record<string, ValueSchema>>;
  readonly [more: string]: unknown;
}

const text = (description: string, more: object = {}): ValueSchema => ({
  type: "string",
  description,
  ...more,
});
const flag = (description: string): ValueSchema => ({ type: "boolean", description });
const count = (description: string, minimum = 1): ValueSchema => ({ type: "integer", minimum, description });
const map = (description: string): ValueSchema => ({
  type: "object",
  description,
  additionalProperties: { type: "string" },
});
const object = (properties: Record<string, ValueSchema>, description = ""): ValueSchema => ({
  type: "object",
  ...(description === "" ? {} : { description }),
  additionalProperties: false,
  properties,
});
const free = (description: string): ValueSchema => ({ type: "object", description });
const list = (description: string, items: object = { type: "object" }): ValueSchema => ({
  type: "array",
  description,
  items,
});

const objectName = { type: "string", pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", maxLength: 56 };
/** Of a Secret or a ConfigMap, which may have dots: those of certificates are often named after a host. */
const sourceName = {
  type: "string",
  pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
  maxLength: 253,
};
const host = { pattern: "^[A-Za-z0-9.-]{1,253}$" };
const settingValue = { type: ["string", "integer", "number", "boolean", "array"], items: { type: "string" } };
const key = { type: "string", pattern: "^[-._a-zA-Z0-9]+$" };
const fromSecret = {
  type: "object",
  additionalProperties: false,
  required: ["secret", "key"],
  properties: { secret: sourceName, key },
};
const file = {
  type: "object",
  additionalProperties: false,
  required: ["key"],
  oneOf: [{ required: ["secret"] }, { required: ["configMap"] }],
  properties: { secret: sourceName, configMap: sourceName, key },
};

/** Those of `properties` that a service reads, each with its meaning. */
function eachOf(description: string, one: object, isWanted: (variable: string) => boolean, service?: string) {
  const wanted = [...variables()].filter(
    ([name, { services }]) => isWanted(name) && (service === undefined || services.includes(service)),
  );
  const properties = wanted.map(([name, { describe }]) => [name, { description: describe, ...one }] as const);
  return object(Object.fromEntries(properties), description);
}

const isFile = (name: string): boolean => name.endsWith("_FILE");
const isFree = (name: string): boolean => !fixedVariables.includes(name);
const isSetting = (name: string): boolean => isFree(name) && !isFile(name);

function service(name: string): ValueSchema {
  const settings = "variables for this service only; they override `settings`";
  return object({
    settings: eachOf(settings, settingValue, isSetting, name),
    replicas: count("number of pods without autoscaling"),
    autoscaling: object({
      enabled: flag("a HorizontalPodAutoscaler; those of dispatch and push-node need a metrics adapter"),
      minReplicas: count("minimum number of pods"),
      maxReplicas: count(`maximum number of pods${name === "dispatch" ? "; `PARTITIONS` by default" : ""}`),
      metrics: list("metrics instead of those of k8s/base"),
      behavior: free("behaviour instead of that of k8s/base"),
    }),
    resources: free("merged into those of k8s/base"),
    spread: text("`required`: pods on different machines, or they are not scheduled", {
      enum: ["preferred", "required"],
    }),
    preStopSeconds: count(
      "how long a stop waits for the ingress to notice; 5 if k8s/base has it, 0 for not at all",
      0,
    ),
    nodeSelector: map("only nodes with these labels"),
    tolerations: list("taints that its pods tolerate"),
    affinity: free("a pod's affinity"),
    priorityClassName: text("a pod's priorityClassName"),
    podLabels: map("additional labels for its pods"),
    podAnnotations: map("additional annotations for its pods"),
    serviceAnnotations: map("annotations of its Service"),
  });
}

export function valuesSchema(): ValueSchema {
  const networkPolicy = {
    type: "object",
    additionalProperties: false,
    required: ["name", "spec"],
    properties: { name: objectName, spec: { type: "object" } },
  };
  const egress = (description: string): ValueSchema =>
    object({ to: list("peers instead of those"), ports: list("ports instead of those") }, description);
  const services = Object.keys(chartServices);
  return {
    $schema: "http://json-schema.org/draft-07/schema#",
    title: "Values of the chart petrel",
    ...object({
      global: free("Helm's own; unused"),
      images: object({
        registry: text("prefix of `petrel/auth` and the others"),
        tag: text("the chart's appVersion if empty"),
        digests: {
          ...object(
            Object.fromEntries(
              services.map((name) => [name, { type: "string", pattern: "^sha256:[0-9a-f]{64}$" }]),
            ),
          ),
          description: "by service; a digest overrides the tag",
        },
        pullPolicy: text("a container's imagePullPolicy", { enum: ["IfNotPresent", "Always", "Never"] }),
        pullSecrets: list("names of Secrets", { type: "string" }),
      }),
      settings: eachOf("variables; each reaches the services that read it", settingValue, isSetting),
      settingsFromSecrets: eachOf("variables from Secrets, `{ secret, key }`", fromSecret, isSetting),
      files: eachOf(
        "files that variables name, `{ secret, key }` or `{ configMap, key }`",
        file,
        (name) => isFree(name) && isFile(name),
      ),
      extraEnv: list("a container's `env` for all four services: variables that Node or a library reads", {
        type: "object",
        required: ["name"],
        properties: { name: { type: "string", pattern: "^[A-Za-z_][A-Za-z0-9_]*$" } },
      }),
      topicRules: list("rules for topics (docs/operate/topic-rules.md)"),
      secrets: object({
        redis: { ...sourceName, description: "the Secret with `REDIS_URL`" },
        auth: { ...sourceName, description: "the Secret with `key-encryption` and `producer-keys.json`" },
      }),
      services: object(Object.fromEntries(services.map((name) => [name, service(name)]))),
      podDisruptionBudgets: flag("at most one pod of each service is evicted at a time"),
      networkPolicies: object({
        enabled: flag("everything that is not listed is closed"),
        redis: egress("where Redis is; private addresses, ports 6379, 6380 and 26379"),
        dispatch: egress("where phones and webhooks are; public addresses, ports 443 and 2197"),
        metricsNamespace: { ...objectName, description: "namespace whose pods may read metrics" },
        extra: list("policies of your own, `{ name, spec }`", networkPolicy),
      }),
      entry: object({
        kind: text("how traffic enters: none, HTTPRoutes, or Ingresses", {
          enum: ["none", "gateway", "ingress"],
        }),
        hosts: object({
          push: text("host name of push nodes", host),
          auth: text("host name of auth", host),
          collect: text("host name of collect", host),
        }),
        namespace: {
          ...objectName,
          description: "namespace of the gateway's or controller's pods, for network policies",
        },
        from: list("peers of a network policy instead of that namespace, for a balancer that is not a pod"),
        gateway: object({
          name: text("the Gateway that routes are attached to"),
          namespace: text("its namespace"),
          sectionName: text("its listener; all by default"),
        }),
        ingress: object({
          controller: text("which controller's annotations; `nginx` is ingress-nginx, which is retired", {
            enum: ["traefik", "nginx"],
          }),
          className: text("the controller's own name if empty"),
          pushTlsSecret: text("the certificate for `hosts.push`"),
          httpTlsSecret: text("the certificate for the other two"),
          annotations: map("additional annotations"),
        }),
      }),
      monitoring: object({
        serviceMonitor: object({
          enabled: flag("needs the CRD of the Prometheus operator"),
          labels: map("labels its serviceMonitorSelector asks for"),
          endpoint: free("merged into the endpoint, such as `scheme` and `tlsConfig`"),
        }),
        prometheusRule: object({
          enabled: flag("the alerts; needs the CRD of the Prometheus operator"),
          labels: map("labels its ruleSelector asks for"),
          runbooks: text("the address of docs/operate/alerts.md, for `runbook_url`"),
        }),
        dashboards: object({
          enabled: flag("the dashboards as ConfigMaps, for the sidecar of Grafana's charts"),
          labels: map("labels the sidecar looks for"),
          annotations: map("such as the folder it puts them into"),
        }),
      }),
    }),
  };
}

/** The rows of README.md: every value with its default and meaning; of variables, services and hosts one row each. */
export function describeValues(schema: ValueSchema, defaults: unknown, path = ""): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, one]) => {
    if (path === "" && name === "global") return [];
    const at = path === "" ? name : `${path}.${name}`;
    // The four services have the same values.
    if (path === "services" && name !== "dispatch") return [];
    const value = (defaults as Record<string, unknown> | undefined)?.[name];
    const isLeaf = one.description !== undefined || one.properties === undefined;
    if (!isLeaf) return describeValues(one, value, at);
    const shown = value === undefined || value === "" ? "" : `\`${JSON.stringify(value)}\``;
    return [
      `| \`${at.replace("services.dispatch", "services.NAME")}\` | ${shown} | ${one.description ?? ""} |`,
    ];
  });
}
