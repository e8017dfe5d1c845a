// start-cluster, service-host -> here: which file starts a service: what was built, or its bundle.
// Guarantees: a bundle stands in for the build that it was made of, never for another release's.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The root of this tree. */
export const builtTree = fileURLToPath(new URL("../../../../", import.meta.url));

/** Names the environment variable with the folder of the bundles; set for one run of tests: test/support/bundle-services.ts. */
export const SERVICE_BUNDLES = "PETREL_TEST_SERVICE_BUNDLES";

/** The folder, in another release's tree, of the bundles of its own build. */
export const RELEASE_BUNDLES = "bundled";

/** @param path from a tree's root, such as "services/auth/dist/main.js" @param release that tree */
export function serviceFile(path: string, release: string = builtTree): string {
  return join(bundlesOf(release) ?? release, path);
}

/** The folder of a tree's bundles, if it has any. */
export function bundlesOf(release: string): string | undefined {
  if (join(release, "/") === builtTree) return process.env[SERVICE_BUNDLES];
  const bundles = join(release, RELEASE_BUNDLES);
  return existsSync(bundles) ? bundles : undefined;
}
