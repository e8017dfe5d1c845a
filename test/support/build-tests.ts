// vitest.config, prepare-built-run -> here: the test files in JavaScript, for `npm test`: what they import is what `tsc -b`
// made.
// Guarantees: one file for each, read from the sources of this moment, so none is stale; a path that a test makes from
// its own place is that of its source; failures name the source's lines.
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { rolldown } from "rolldown";
import type { Plugin } from "vitest/config";
import { readSources } from "./repository/read-sources.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** Names the environment variable with their folder; set for one run of tests. */
const BUILT_TESTS = "PETREL_TEST_BUILT_TESTS";

const ownPackages: readonly (readonly [RegExp, string])[] = [
  [/^@petrel\/shared\/(.*)$/, "shared/dist/$1.js"],
  [/^@petrel\/client$/, "clients/browser/dist/client.js"],
  [/^@petrel\/server$/, "clients/server/dist/petrel.js"],
];
/** In code, not in a string: a file finds what lies beside it. */
const OWN_PLACE = /(?<!["`])import\.meta\.url(?!["`])/g;

/** Once a run, though each project asks. */
export async function setup(): Promise<(() => Promise<void>) | undefined> {
  if (process.env[BUILT_TESTS] !== undefined) return undefined;
  // Below the root, so that packages are found from there.
  const cache = join(root, ".cache");
  await mkdir(cache, { recursive: true });
  const directory = await mkdtemp(join(cache, "built-tests-"));
  const paths = readSources().map(({ path }) => path);
  await buildTests(
    paths.filter((path) => path.endsWith(".test.ts")),
    directory,
  );
  process.env[BUILT_TESTS] = directory;
  return () => rm(directory, { recursive: true, force: true });
}

/** @param paths of test files, from the root */
async function buildTests(paths: readonly string[], directory: string): Promise<void> {
  const build = await rolldown({
    input: Object.fromEntries(paths.map((path) => [path.replace(/\.ts$/, ""), join(root, path)])),
    platform: "node",
    logLevel: "silent",
    // As tsc: Node 20 knows no `using`.
    transform: { target: "es2023" },
    plugins: [
      {
        name: "what-tsc-built",
        resolveId(specifier, importer) {
          if (importer === undefined || specifier.startsWith("/")) return null;
          const id = builtFile(specifier, importer);
          if (id !== undefined) return { id, external: "absolute" };
          return specifier.startsWith(".") ? null : { id: specifier, external: true };
        },
        transform: (code, id) =>
          code.includes("import.meta.url")
            ? { code: code.replaceAll(OWN_PLACE, JSON.stringify(pathToFileURL(id).href)), map: null }
            : null,
      },
    ],
  });
  try {
    await build.write({
      dir: directory,
      format: "esm",
      entryFileNames: "[name].js",
      preserveModules: true,
      preserveModulesRoot: root,
      sourcemap: true,
    });
  } finally {
    await build.close();
  }
}

/** What `tsc -b` made of a source; undefined for tests and what only they use, which it only checks. */
function builtFile(specifier: string, importer: string): string | undefined {
  for (const [pattern, path] of ownPackages)
    if (pattern.test(specifier)) return join(root, specifier.replace(pattern, path));
  if (!specifier.startsWith(".")) return undefined;
  const file = join(dirname(importer), specifier).replace("/src/", "/dist/");
  return file.includes("/dist/") && existsSync(file) ? file : undefined;
}

/** Vitest's part: it transforms no more of a test file than its name, and Node loads what was built. */
export function runBuiltTests(): Plugin {
  return {
    name: "built-tests",
    enforce: "pre",
    load: {
      filter: { id: /\.test\.ts$/ },
      handler: (id) => {
        const directory = process.env[BUILT_TESTS];
        if (directory === undefined || !id.startsWith(root)) return null;
        return `import ${JSON.stringify(join(directory, id.slice(root.length).replace(/\.ts$/, ".js")))};`;
      },
    },
  };
}
