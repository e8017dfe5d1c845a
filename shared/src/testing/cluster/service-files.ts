// start-cluster, service-host -> here: which file starts a service: what was built, or its bundle of this test run.
// Guarantees: bundles stand in for this tree's build only, never for another release's.
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The root of this tree. */
export const builtTree = fileURLToPath(new URL("../../../../", import.meta.url));

/** Names the environment variable with the folder of the bundles; set for one run of tests: test/support/bundle-services.ts. */
export const SERVICE_BUNDLES = "PETREL_TEST_SERVICE_BUNDLES";

/** @param path from a tree's root, such as "services/auth/dist/main.js" @param release that tree */
export function serviceFile(path: string, release: string = builtTree): string {
  const bundles = process.env[SERVICE_BUNDLES];
  return join(bundles === undefined || release !== builtTree ? release : bundles, path);
}
