// Tests only: what the API servers would say about a manifest.
// Guarantees: checked strictly against the vendored schemas: an unknown field or kind is refused.
import { readFileSync } from "node:fs";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import type { Manifest } from "./render-overlay.js";

interface SchemaFile {
  readonly kinds: Readonly<Record<string, string>>;
  readonly components: unknown;
}

const metadataSchema = "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/** The patterns are Go's, in which `(?i)` is what a flag is here. */
const goRegExp = Object.assign(
  (pattern: string, flags: string): RegExp =>
    pattern.includes("(?i)")
      ? new RegExp(pattern.replace("(?i)", ""), `${flags}i`)
      : new RegExp(pattern, flags),
  { code: "new RegExp" },
);

/** @returns a function that lists what is wrong with an object; empty if nothing is */
export function createManifestCheck(): (manifest: Manifest) => string[] {
  const ajv = new Ajv2020({
    strict: false,
    validateFormats: false,
    allErrors: true,
    code: { regExp: goRegExp, optimize: false },
  });
  const refs = new Map<string, string>();
  for (const file of ["kubernetes", "gateway-api", "prometheus-operator"]) {
    const url = new URL(`./schemas/${file}.json`, import.meta.url);
    const { kinds, components } = JSON.parse(readFileSync(url, "utf8")) as SchemaFile;
    ajv.addSchema({ $id: file, components: closed(components) });
    for (const [kind, ref] of Object.entries(kinds)) refs.set(kind, `${file}${ref}`);
  }
  /** Compiled when it is met: a test meets few of them. */
  const compiled = new Map<string, ValidateFunction>();
  const compile = ($ref: string): ValidateFunction => {
    const check = compiled.get($ref) ?? ajv.compile({ $ref });
    compiled.set($ref, check);
    return check;
  };
  return (manifest) => {
    const name = `${manifest.apiVersion} ${manifest.kind}`;
    const ref = refs.get(name);
    if (ref === undefined) return [`${name} is not among the vendored schemas`];
    const [check, checkMetadata] = [compile(ref), compile(`kubernetes${metadataSchema}`)];
    check(manifest);
    checkMetadata(manifest.metadata);
    const errors = [...(check.errors ?? []), ...(checkMetadata.errors ?? [])];
    return errors.map(
      ({ instancePath, message, params }) =>
        `${name} ${manifest.metadata.name}${instancePath}: ${message} ${JSON.stringify(params)}`,
    );
  };
}

/** An object that lists its properties allows no others, as with `kubectl apply --validate=strict`. */
function closed(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(closed);
  if (typeof node !== "object" || node === null) return node;
  const copy = Object.fromEntries(Object.entries(node).map(([key, value]) => [key, closed(value)]));
  const isOpen = "additionalProperties" in copy || copy["x-kubernetes-preserve-unknown-fields"] === true;
  const listsProperties = typeof copy["properties"] === "object" && copy["type"] === "object";
  return listsProperties && !isOpen ? { ...copy, additionalProperties: false } : copy;
}
