// Tests only: the objects that a kustomize overlay renders.
// Guarantees: rendered by kubectl's kustomize, or kustomize itself, version 5; its warnings are errors.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
}

const renderers = [
  { program: "kubectl", render: ["kustomize"], version: ["version", "--client"] },
  { program: "kustomize", render: ["build"], version: ["version"] },
] as const;

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** The command that renders a directory; undefined if this machine has none. */
export function findRenderer(): readonly string[] | undefined {
  // Debian's kubectl of 2021 brings kustomize 2, which knows neither `patches` nor `labels`.
  const found = renderers.find(({ program, version }) =>
    /\bv5\.\d+\.\d+/.test(spawnSync(program, version, { encoding: "utf8" }).stdout ?? ""),
  );
  return found === undefined ? undefined : [found.program, ...found.render];
}

/** @param directory from the repository's root */
export function renderDirectory(renderer: readonly string[], directory: string): Manifest[] {
  const [program = "", ...args] = renderer;
  const { status, stdout, stderr } = spawnSync(program, [...args, directory], {
    cwd: root,
    encoding: "utf8",
  });
  if (status !== 0 || stderr !== "") throw new Error(`${program} ${directory}: ${stderr}`);
  return parseManifests(stdout);
}

export function parseManifests(text: string): Manifest[] {
  return parseAllDocuments(text).map((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw error;
    return document.toJS() as Manifest;
  });
}
