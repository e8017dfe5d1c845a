// prepare-built-run -> here -> start-cluster: what was built of each service in one file, for the clusters of `npm test`.
// Guarantees: the code is what `tsc -b` made; only how it is loaded differs: a start reads one file instead of six hundred,
// and what Node compiled of it at a former start. What tests packages, images and an `npm start` runs what was built
// itself.
import { mkdir, mkdtemp, realpath, rename, rm, symlink, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { rolldown } from "rolldown";
import { SERVICE_BUNDLES } from "../../shared/src/testing/cluster/service-files.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const kinds = ["auth", "collect", "dispatch", "push-node"] as const;
const simulators = ["apns-simulator", "web-push-simulator", "wechat-simulator"] as const;
const hostedSimulators = ["apns-simulator", "wechat-simulator"] as const;
/** Packages that look for files and packages as they run. */
const LOADED_AS_THEY_ARE = ["mongodb", "jsonc-parser", "@fastify/swagger", "@fastify/swagger-ui"] as const;
/** Finds the services, and what lies beside them, from where it is itself: in a folder that looks like the tree. */
const LOCAL_RUN = "deploy/local/dist/main.js";

/** What starts as a process in every cluster. */
export const serviceMains: readonly string[] = kinds.map((kind) => `services/${kind}/dist/main.js`);

const processes = [
  ...serviceMains,
  "services/console/dist/main.js",
  ...simulators.map((name) => `deploy/local/dist/${name}/main.js`),
];
/** One process for several services, and what it loads for each. */
export const servicesTogether: readonly string[] = [
  "shared/dist/testing/cluster/host-services.js",
  ...kinds.flatMap((kind) => [`services/${kind}/dist/config.js`, `services/${kind}/dist/start-${kind}.js`]),
];
const together = [
  ...servicesTogether,
  ...hostedSimulators.map((name) => `deploy/local/dist/${name}/start-${name}.js`),
];
/** These wait at their top level, as only modules can. */
const modules = ["bench/dist/limiter-process.js", LOCAL_RUN];
const LOADER = "load-compiled.cjs";
/** What the local run looks for in the tree. */
const besideLocalRun = [".cache", "deploy/local/certificates"];

/** Once a run, though each project asks. */
export async function setup(): Promise<(() => Promise<void>) | undefined> {
  if (process.env[SERVICE_BUNDLES] !== undefined) return undefined;
  // Below the root, so that packages are found from there.
  const cache = join(root, ".cache");
  await mkdir(cache, { recursive: true });
  const directory = await mkdtemp(join(cache, "service-bundles-"));
  await bundleProcesses(root, processes, directory, root, together);
  await bundle(root, pathsByName(root, modules), directory, root, "esm");
  for (const path of besideLocalRun) {
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await symlink(join(root, path), join(directory, path));
  }
  process.env[SERVICE_BUNDLES] = directory;
  return () => rm(directory, { recursive: true, force: true });
}

/**
 * @param mains in the tree, and then in the directory, which must find the tree's packages
 * @param place where the tree will be when the bundles run
 * @param further files that nothing but their text is needed of
 */
export async function bundleProcesses(
  tree: string,
  mains: readonly string[],
  directory: string,
  place = tree,
  further: readonly string[] = [],
): Promise<void> {
  // By itself: what it shared with the others it would load as Node does, before it loads their compiled code.
  await bundle(tree, { [LOADER]: join(root, "test/support/load-compiled.ts") }, directory, place, "cjs");
  await bundle(tree, pathsByName(tree, [...mains, ...further]), directory, place, "cjs");
  for (const folder of new Set([...mains, ...further].map((path) => join(directory, dirname(path)))))
    await writeFile(join(folder, "package.json"), JSON.stringify({ type: "commonjs" }));
  for (const main of mains) {
    const script = main.replace(/\.js$/, ".cjs");
    await rename(join(directory, main), join(directory, script));
    const load = `require("${join(relative(dirname(main), "."), LOADER)}").loadCompiled`;
    await writeFile(join(directory, main), `${load}(require.resolve("./${basename(script)}"));\n`);
  }
}

function pathsByName(tree: string, paths: readonly string[]): Record<string, string> {
  return Object.fromEntries(paths.map((path) => [path, join(tree, path)]));
}

/** Node compiles modules anew at each start; of scripts it can keep what it compiled. */
async function bundle(
  tree: string,
  input: Readonly<Record<string, string>>,
  directory: string,
  place: string,
  format: "cjs" | "esm",
): Promise<void> {
  const real = join(await realpath(tree), "/");
  const placed = (id: string): string => (id.startsWith(real) ? join(place, id.slice(real.length)) : id);
  const extension = format === "cjs" ? "cjs" : "mjs";
  const build = await rolldown({
    input,
    platform: "node",
    external: [...LOADED_AS_THEY_ARE],
    plugins: [
      {
        // A file finds what lies beside it: scripts, a package.json.
        name: "where-it-was-built",
        transform: (code, id) =>
          id !== real + LOCAL_RUN && code.includes("import.meta.url")
            ? code.replaceAll("import.meta.url", JSON.stringify(pathToFileURL(placed(id)).href))
            : null,
      },
      {
        // Resolved as it runs, it would be some hundred files of its own.
        name: "bundle-the-compilers",
        transform: (code) =>
          format === "cjs" && code.includes("requireOfFramework(")
            ? code.replaceAll(/\brequireOfFramework\((?=")/g, "require(")
            : null,
      },
      {
        // The last statement of a main, which a script cannot await.
        name: "start-from-a-script",
        transform: (code, id) =>
          format === "cjs" && id.endsWith("main.js")
            ? code.replace(/^await (?=run(?:Main|Service)\()/m, "void ")
            : null,
      },
      {
        // V8 forgets whom to ask for a dynamic import when it takes a script from compiled code.
        name: "import-from-a-script",
        transform: (code) =>
          format === "cjs" && code.includes("import(")
            ? LOADED_AS_THEY_ARE.reduce(
                (text, name) =>
                  text.replaceAll(
                    `import("${name}")`,
                    `Promise.resolve(require("${name}")).then((it) => ({ ...it, default: it }))`,
                  ),
                code,
              )
            : null,
      },
    ],
    logLevel: "silent",
  });
  try {
    await build.write({
      dir: directory,
      format,
      entryFileNames: "[name]",
      chunkFileNames: `chunks/[name]-[hash].${extension}`,
    });
  } finally {
    await build.close();
  }
}
