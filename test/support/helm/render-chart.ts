// Tests only: the objects that the chart renders, by Helm itself.
// Guarantees: Helm 3 or 4; what it warns of is an error.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { withoutCollection } from "../short-go-program.js";
import { parseManifests, type Manifest } from "../kubernetes/render-overlay.js";

const root = fileURLToPath(new URL("../../..", import.meta.url));

function runHelm(args: readonly string[]): {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
} {
  return spawnSync("helm", args, { cwd: root, encoding: "utf8", env: withoutCollection(process.env) });
}

/** Whether tests of the chart run: if they can, or must. Says so if they cannot. */
export function isHelmThere(): boolean {
  const { stdout } = runHelm(["version", "--template", "{{ .Version }}"]);
  if (/^v[34]\./.test(stdout ?? "") || process.env["PETREL_REQUIRE_HELM"] === "1") return true;
  process.stderr.write("\n*** No helm 3 or 4: deploy/helm is not rendered. ***\n\n");
  return false;
}

/** @param examples files of deploy/helm/examples, without `.yaml`; the later win */
export function renderChart(examples: readonly string[], ...more: readonly string[]): Manifest[] {
  const files = examples.flatMap((name) => ["--values", `deploy/helm/examples/${name}.yaml`]);
  const { status, stdout, stderr } = runHelm([
    "template",
    "petrel",
    "deploy/helm/petrel",
    "-n",
    "petrel",
    ...files,
    ...more,
  ]);
  if (status !== 0 || stderr !== "") throw new Error(`helm template: ${stderr}`);
  return parseManifests(stdout);
}

/** @returns what `helm lint --strict` says; its exit code 0 is "" */
export function lintChart(examples: readonly string[]): string {
  const files = examples.flatMap((name) => ["--values", `deploy/helm/examples/${name}.yaml`]);
  const { status, stdout, stderr } = runHelm(["lint", "--strict", "deploy/helm/petrel", ...files]);
  return status === 0 ? "" : `${stdout}${stderr}`;
}
