// Tests only: the objects that a kustomize overlay renders.
// Guarantees: rendered by kubectl's kustomize, or kustomize itself, version 5; its warnings are errors.
import { spawnSync } from "node:child_process";
import { isAbsolute } from "node:path";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";
import { withoutCollection } from "../short-go-program.js";

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

const env = withoutCollection(process.env);
const root = fileURLToPath(new URL("../../..", import.meta.url));

/** Of this process: each look and each rendering starts a program, and several files ask for the same. */
class Renderings {
  #renderer: { readonly found: readonly string[] | undefined } | undefined;
  readonly #texts = new Map<string, string>();

  renderer(): readonly string[] | undefined {
    return (this.#renderer ??= { found: lookForRenderer() }).found;
  }

  text(key: string, render: () => string): string {
    const text = this.#texts.get(key) ?? render();
    this.#texts.set(key, text);
    return text;
  }
}

const renderings = new Renderings();

/** The command that renders a directory; undefined if this machine has none. */
export const findRenderer = (): readonly string[] | undefined => renderings.renderer();

function lookForRenderer(): readonly string[] | undefined {
  // Debian's kubectl of 2021 brings kustomize 2, which knows neither `patches` nor `labels`.
  const found = renderers.find(({ program, version }) =>
    /\bv5\.\d+\.\d+/.test(spawnSync(program, version, { encoding: "utf8", env }).stdout ?? ""),
  );
  return found === undefined ? undefined : [found.program, ...found.render];
}

/** @param directory from the repository's root */
export function renderDirectory(renderer: readonly string[], directory: string): Manifest[] {
  const isOurs = !isAbsolute(directory);
  const render = (): string => renderText(renderer, directory);
  return parseManifests(isOurs ? renderings.text(directory, render) : render());
}

function renderText(renderer: readonly string[], directory: string): string {
  const [program = "", ...args] = renderer;
  const { status, stdout, stderr } = spawnSync(program, [...args, directory], {
    cwd: root,
    encoding: "utf8",
    env,
  });
  if (status !== 0 || stderr !== "") throw new Error(`${program} ${directory}: ${stderr}`);
  return stdout;
}

export function parseManifests(text: string): Manifest[] {
  return parseAllDocuments(text).map((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw error;
    return document.toJS() as Manifest;
  });
}
