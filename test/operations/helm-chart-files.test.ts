// Checks what of deploy/helm/petrel is made from k8s/ and from the services' schemas.
// Guarantees: nothing of it is out of date. PETREL_UPDATE_CHART=1 makes it anew.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv } from "ajv";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { chartDirectory, makeChartFiles } from "../support/helm/chart-files.js";
import { fixedVariables, valuesSchema, variables, type ValueSchema } from "../support/helm/values-schema.js";
import { findRenderer } from "../support/kubernetes/render-overlay.js";
import { isToBeRendered } from "../support/kubernetes/rendered-directory.js";

const renderer = findRenderer();
const isValid = new Ajv({ strict: false, code: { optimize: false } }).compile(valuesSchema());
const values = parse(readFileSync(join(chartDirectory, "values.yaml"), "utf8")) as unknown;

test.runIf(isToBeRendered())("files generated from k8s/ and the services' schemas are up to date", () => {
  if (renderer === undefined) throw new Error("there is no kustomize 5");
  for (const [path, content] of makeChartFiles(renderer)) {
    const file = join(chartDirectory, path);
    if (process.env["PETREL_UPDATE_CHART"] === "1") writeFileSync(file, content);
    const found = readFileSync(file, "utf8");
    const hint = `${path}: PETREL_UPDATE_CHART=1 npx vitest run test/operations/helm-chart-files.test.ts`;
    if (path.endsWith(".md")) expect(found, hint).toBe(content);
    else expect(parse(found), hint).toEqual(parse(content));
  }
});

test("values.yaml has every setting with a default, and fits the schema", () => {
  isValid(values);
  expect(isValid.errors).toBeNull();
  const withoutDefault =
    /^(global|entry\.gateway\.sectionName|services\.[a-z-]+\.(preStopSeconds|autoscaling\.(minReplicas|maxReplicas|metrics|behavior)))$/;
  expect(missing(valuesSchema(), values).filter((path) => !withoutDefault.test(path))).toEqual([]);
});

test("every variable of every service can be set", () => {
  const { settings, settingsFromSecrets, files } = valuesSchema().properties ?? {};
  for (const [name] of variables()) {
    const places = [settings, settingsFromSecrets, files].filter((one) => name in (one?.properties ?? {}));
    expect(places.length, name).toBe(fixedVariables.includes(name) ? 0 : name.endsWith("_FILE") ? 1 : 2);
  }
});

test("accepts the values in README.md", () => {
  const readme = readFileSync(join(chartDirectory, "README.md"), "utf8");
  const blocks = [...readme.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(
    ([, text = ""]) => parse(text) as unknown,
  );
  expect(blocks.length).toBeGreaterThanOrEqual(4);
  for (const block of blocks) {
    isValid(block);
    expect(isValid.errors).toBeNull();
  }
});

test("refuses an unread variable, a wrong type and an unknown value", () => {
  for (const wrong of [
    { settings: { VAPID_SUBJEKT: "a" } },
    { settings: { VAPID_KEY_FILE: "/a" } },
    { settings: { PORT: 1 } },
    { services: { auth: { settings: { DRAIN_WINDOW_MS: 1 } } } },
    { files: { VAPID_KEY_FILE: { secret: "a" } } },
    { files: { VAPID_KEY_FILE: { secret: "a", configMap: "b", key: "c" } } },
    { entry: { kind: "loadbalancer" } },
    { images: { digests: { auth: "latest" } } },
    { monitoring: { enabled: true } },
  ])
    expect(isValid(wrong), JSON.stringify(wrong)).toBe(false);
});

/** Values of the schema that values.yaml does not name; what has a description of its own is one value. */
function missing(schema: ValueSchema, defaults: unknown, path = ""): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, one]) => {
    const at = path === "" ? name : `${path}.${name}`;
    if (typeof defaults !== "object" || defaults === null || !(name in defaults)) return [at];
    const isWhole = one.description !== undefined || one.properties === undefined;
    return isWhole ? [] : missing(one, (defaults as Record<string, unknown>)[name], at);
  });
}
