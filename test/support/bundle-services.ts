// vitest.config -> here -> start-cluster: what was built of each service in one file, for the clusters of `npm test`.
// Guarantees: the code is what `tsc -b` made; only how it is loaded differs: a start reads one file instead of six hundred,
// in half the time. What tests packages, images and an `npm start` runs what was built itself.
import { mkdir, mkdtemp, realpath, rm, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { rolldown } from "rolldown";
import { SERVICE_BUNDLES } from "../../shared/src/testing/cluster/service-files.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const kinds = ["auth", "collect", "dispatch", "push-node"] as const;
const simulators = ["apns-simulator", "web-push-simulator", "wechat-simulator"] as const;
/** Finds the services, and what lies beside them, from where it is itself: in a folder that looks like the tree. */
const LOCAL_RUN = "deploy/local/dist/main.js";

/** What starts as a process. */
export const serviceMains: readonly string[] = kinds.map((kind) => `services/${kind}/dist/main.js`);

const bundled = [
  ...serviceMains,
  ...kinds.flatMap((kind) => [`services/${kind}/dist/config.js`, `services/${kind}/dist/start-${kind}.js`]),
  "shared/dist/testing/cluster/host-services.js",
  "services/console/dist/main.js",
  "bench/dist/limiter-process.js",
  ...simulators.map((name) => `deploy/local/dist/${name}/main.js`),
  LOCAL_RUN,
];
/** What the local run looks for in the tree. */
const besideLocalRun = [".cache", "deploy/local/certificates"];

/** For vitest's `globalSetup`: once a run, though each project asks. */
export async function setup(): Promise<(() => Promise<void>) | undefined> {
  if (process.env[SERVICE_BUNDLES] !== undefined) return undefined;
  // Below the root, so that packages are found from there.
  const cache = join(root, ".cache");
  await mkdir(cache, { recursive: true });
  const directory = await mkdtemp(join(cache, "service-bundles-"));
  await bundleServices(root, bundled, directory);
  for (const path of besideLocalRun) {
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await symlink(join(root, path), join(directory, path));
  }
  process.env[SERVICE_BUNDLES] = directory;
  return () => rm(directory, { recursive: true, force: true });
}

/**
 * @param paths in the tree, and then in the directory, which must find the tree's packages
 * @param place where the tree will be when the bundles run
 */
export async function bundleServices(
  tree: string,
  paths: readonly string[],
  directory: string,
  place = tree,
): Promise<void> {
  const real = join(await realpath(tree), "/");
  const placed = (id: string): string => (id.startsWith(real) ? join(place, id.slice(real.length)) : id);
  const bundle = await rolldown({
    input: Object.fromEntries(paths.map((path) => [path, join(tree, path)])),
    platform: "node",
    // These look for files and packages as they run.
    external: ["mongodb", "jsonc-parser", "@fastify/swagger", "@fastify/swagger-ui"],
    // A file finds what lies beside it: scripts, a package.json.
    plugins: [
      {
        name: "where-it-was-built",
        transform: (code, id) =>
          id !== real + LOCAL_RUN && code.includes("import.meta.url")
            ? code.replaceAll("import.meta.url", JSON.stringify(pathToFileURL(placed(id)).href))
            : null,
      },
    ],
    logLevel: "silent",
  });
  try {
    await bundle.write({
      dir: directory,
      format: "esm",
      entryFileNames: "[name]",
      chunkFileNames: "chunks/[name]-[hash].js",
    });
  } finally {
    await bundle.close();
  }
}
