#!/usr/bin/env node
// The directories of the Go modules -> here -> the vendored schemas: the JSON files beside this one.
// Guarantees: only the kinds in use and their parts, without prose; they allow what they did, except
// a `status` in a manifest.
//
//   node test/support/kubernetes/schemas/cut-schemas.mjs <kubernetes> <gateway-api> <prometheus-operator> <compose-go>
//
// Each is the directory of that Go module's source, as `go mod download -json <module>@<version>` names it.
import { readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parse } from "yaml";

const kinds = {
  api__v1: ["ConfigMap", "Namespace", "Secret", "Service"],
  apis__apps__v1: ["Deployment", "StatefulSet"],
  apis__autoscaling__v2: ["HorizontalPodAutoscaler"],
  "apis__networking.k8s.io__v1": ["Ingress", "NetworkPolicy"],
  apis__policy__v1: ["PodDisruptionBudget"],
};

const kept = new Set(["x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"]);

/** A schema without its prose and without what only an API server understands. */
function bare(node, isProperties = false) {
  if (Array.isArray(node)) return node.map((one) => bare(one));
  if (typeof node !== "object" || node === null) return node;
  return Object.fromEntries(
    Object.entries(node)
      .filter(
        ([key]) => isProperties || !(["description", "default", "example"].includes(key) || dropped(key)),
      )
      .map(([key, value]) => [key, bare(value, key === "properties" && !isProperties)]),
  );
}

function dropped(key) {
  return key.startsWith("x-kubernetes-") && !kept.has(key);
}

function withoutStatus({ properties: { status: _status, ...properties }, ...rest }) {
  return { ...rest, properties };
}

function write(name, source, content) {
  const text = JSON.stringify({ $comment: `Cut from ${source} by cut-schemas.mjs; Apache-2.0.`, ...content });
  writeFileSync(new URL(`${name}.json`, import.meta.url), `${text}\n`);
}

const [kubernetes, gateway, operator, compose] = process.argv.slice(2);
const versionOf = (directory) => basename(directory).replace("@", " ");

const definitions = {};
const roots = {};
const take = (schemas, ref) => {
  const name = ref.replace("#/components/schemas/", "");
  if (name in definitions) return;
  definitions[name] = {};
  const schema = bare(schemas[name]);
  definitions[name] = name in isRoot ? withoutStatus(schema) : schema;
  for (const [, next] of JSON.stringify(definitions[name]).matchAll(/"\$ref":"([^"]+)"/g))
    take(schemas, next);
};
const isRoot = {};
for (const [file, names] of Object.entries(kinds)) {
  const path = join(kubernetes, "api/openapi-spec/v3", `${file}_openapi.json`);
  const { schemas } = JSON.parse(readFileSync(path, "utf8")).components;
  for (const kind of names) {
    const [name, schema] = Object.entries(schemas).find(([, one]) =>
      one["x-kubernetes-group-version-kind"]?.some((gvk) => gvk.kind === kind),
    );
    const { group, version } = schema["x-kubernetes-group-version-kind"][0];
    isRoot[name] = true;
    roots[`${group === "" ? version : `${group}/${version}`} ${kind}`] = `#/components/schemas/${name}`;
    take(schemas, `#/components/schemas/${name}`);
  }
}
write("kubernetes", `k8s.io/${versionOf(kubernetes)}, api/openapi-spec/v3`, {
  kinds: roots,
  components: { schemas: definitions },
});

const customResources = [
  [
    "gateway-api",
    `sigs.k8s.io/${versionOf(gateway)}`,
    gateway,
    "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
  ],
  [
    "prometheus-operator",
    `github.com/prometheus-operator/${versionOf(operator)}`,
    operator,
    "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
  ],
];
for (const [name, module, directory, ...files] of customResources) {
  const kindsOf = {};
  const schemas = {};
  for (const file of files) {
    const { spec } = parse(readFileSync(join(directory, file), "utf8"));
    const { name: version, schema } = spec.versions.find((one) => one.name === "v1");
    kindsOf[`${spec.group}/${version} ${spec.names.kind}`] = `#/components/schemas/${spec.names.kind}`;
    schemas[spec.names.kind] = withoutStatus(bare(schema.openAPIV3Schema));
  }
  write(name, `${module}, ${files.join(", ")}`, { kinds: kindsOf, components: { schemas } });
}

// Unchanged except for whitespace.
const composeSpec = readFileSync(join(compose, "schema/compose-spec.json"));
writeFileSync(new URL("compose-spec.json", import.meta.url), composeSpec);
