// Tests only: every source file of the repository, with what it imports.
// Guarantees: finds static, re-exporting, bare, dynamic and type imports; resolves those of our own to files.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

export interface Import {
  /** As written. */
  readonly specifier: string;
  /** `import type …`: it does not exist at run time. */
  readonly isTypeOnly: boolean;
  /** The file of this repository that it resolves to, from the root; undefined for packages and Node's own. */
  readonly file: string | undefined;
}

export interface SourceFile {
  /** From the repository's root, with "/". */
  readonly path: string;
  readonly text: string;
  readonly isTest: boolean;
  readonly imports: readonly Import[];
}

const root = fileURLToPath(new URL("../../..", import.meta.url));
const topFolders = ["bench", "clients", "deploy", "examples", "services", "shared", "test"];
const skipped = new Set(["node_modules", "dist", ".data", ".cache"]);

/** Sources in TypeScript, and those of the browser's pages. */
export function readSources(): SourceFile[] {
  return topFolders
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) => filesUnder(join(root, folder)))
    .map((file) => relative(root, file))
    .filter((path) => /\.(ts|js)$/.test(path) && !path.endsWith(".d.ts"))
    .sort()
    .map((path) => {
      const text = readFileSync(join(root, path), "utf8");
      return { path, text, isTest: isTest(path), imports: readImports(text, path) };
    });
}

function filesUnder(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (skipped.has(entry.name)) return [];
    const path = join(folder, entry.name);
    return entry.isDirectory() ? filesUnder(path) : [path];
  });
}

/** Tests, and what only they use. */
function isTest(path: string): boolean {
  return /\.test\.ts$|^test\/|(^|\/)src\/testing\//.test(path);
}

// The formatter puts every import and export at the start of a line, and its specifier in double quotes.
const staticImport = /^(import|export)(\s+type)?\b[^;'"`]*?\bfrom\s+"([^"]+)"/gm;
const bareImport = /^import\s+"([^"]+)"/gm;
const dynamicImport = /\b(?:import|require)\(\s*"([^"]+)"/g;

/** @param path of the importing file, from the root */
export function readImports(text: string, path: string): Import[] {
  const found = [
    ...[...text.matchAll(staticImport)].map(([, , type, specifier = ""]) => ({
      specifier,
      isTypeOnly: type !== undefined,
    })),
    ...[...text.matchAll(bareImport)].map(([, specifier = ""]) => ({ specifier, isTypeOnly: false })),
    ...[...text.matchAll(dynamicImport)].map(([, specifier = ""]) => ({ specifier, isTypeOnly: false })),
  ];
  return found.map((one) => ({ ...one, file: resolve(one.specifier, path) }));
}

function resolve(specifier: string, from: string): string | undefined {
  if (specifier.startsWith("@petrel/shared/"))
    return `shared/src/${specifier.slice("@petrel/shared/".length)}.ts`;
  if (specifier === "@petrel/client") return "clients/browser/src/client.ts";
  if (specifier === "@petrel/server") return "clients/server/src/petrel.ts";
  if (!specifier.startsWith(".")) return undefined;
  const path = join(dirname(from), specifier);
  const asTypeScript = path.replace(/\.js$/, ".ts");
  return existsSync(join(root, asTypeScript)) ? asTypeScript : path;
}

/** The package that a specifier names, or undefined for files and Node's own modules. */
export function packageOf(specifier: string): string | undefined {
  if (specifier.startsWith(".") || specifier.startsWith("/") || specifier.startsWith("node:"))
    return undefined;
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

/** The workspace that a file belongs to, such as "services/auth". */
export function workspaceOf(path: string): string {
  const [top = "", second = ""] = path.split("/");
  return ["shared", "bench", "test"].includes(top) ? top : `${top}/${second}`;
}

/** The packages that a workspace declares for run time. */
export function declaredPackages(workspace: string): ReadonlySet<string> {
  const manifest = JSON.parse(readFileSync(join(root, workspace, "package.json"), "utf8")) as {
    readonly dependencies?: Readonly<Record<string, string>>;
    readonly peerDependencies?: Readonly<Record<string, string>>;
  };
  return new Set([
    ...Object.keys(manifest.dependencies ?? {}),
    ...Object.keys(manifest.peerDependencies ?? {}),
  ]);
}

/** The files of each import cycle, each cycle once. */
export function findCycles(files: readonly SourceFile[]): string[][] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const state = new Map<string, "open" | "done">();
  const trail: string[] = [];
  const cycles: string[][] = [];
  const visit = (path: string): void => {
    if (state.get(path) === "done") return;
    if (state.get(path) === "open") {
      cycles.push([...trail.slice(trail.indexOf(path)), path]);
      return;
    }
    state.set(path, "open");
    trail.push(path);
    for (const { file } of byPath.get(path)?.imports ?? [])
      if (file !== undefined && byPath.has(file)) visit(file);
    trail.pop();
    state.set(path, "done");
  };
  for (const { path } of files) visit(path);
  return cycles;
}
