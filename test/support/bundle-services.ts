// vitest.config -> here -> start-cluster: what was built of each service in one file, for the clusters of `npm test`.
// Guarantees: the code is what `tsc -b` made; only how it is loaded differs: a start reads one file instead of six hundred,
// in a third of the time. What tests packages, images and `npm start` runs what was built itself.
import { mkdtemp, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { rolldown } from "rolldown";
import { SERVICE_BUNDLES } from "../../shared/src/testing/cluster/service-files.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const kinds = ["auth", "collect", "dispatch", "push-node"] as const;

/** For vitest's `globalSetup`: once a run, though each project asks. */
export async function setup(): Promise<(() => Promise<void>) | undefined> {
  if (process.env[SERVICE_BUNDLES] !== undefined) return undefined;
  const directory = await bundleServices();
  process.env[SERVICE_BUNDLES] = directory;
  return () => rm(directory, { recursive: true, force: true });
}

/** @returns the folder of the bundles; below the root, so that packages are found from there */
export async function bundleServices(): Promise<string> {
  const cache = join(root, ".cache");
  await mkdir(cache, { recursive: true });
  const directory = await mkdtemp(join(cache, "service-bundles-"));
  const built = kinds.flatMap((kind) => [`services/${kind}/dist/main.js`, ...hostedFiles(kind)]);
  const bundle = await rolldown({
    input: Object.fromEntries(
      [...built, "shared/dist/testing/cluster/host-services.js"].map((path) => [path, join(root, path)]),
    ),
    platform: "node",
    // These look for files and packages as they run.
    external: ["mongodb", "jsonc-parser", "@fastify/swagger", "@fastify/swagger-ui"],
    // A file finds what lies beside it: scripts, a package.json.
    plugins: [
      {
        name: "where-it-was-built",
        transform: (code, id) =>
          code.includes("import.meta.url")
            ? code.replaceAll("import.meta.url", JSON.stringify(pathToFileURL(id).href))
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
  return directory;
}

function hostedFiles(kind: string): string[] {
  return [`services/${kind}/dist/config.js`, `services/${kind}/dist/start-${kind}.js`];
}
