// vitest.config -> here: what `npm test` makes before its first test: the tests in JavaScript, and the services' bundles.
// Guarantees: both at a time, as neither needs the other, and one alone leaves a core idle; both are gone at the end.
import { setup as buildTests } from "./build-tests.js";
import { setup as bundleServices } from "./bundle-services.js";

/** For vitest's `globalSetup`: once a run, though each project asks. */
export async function setup(): Promise<() => Promise<void>> {
  const removals = await Promise.all([buildTests(), bundleServices()]);
  return async () => {
    await Promise.all(removals.map(async (remove) => remove?.()));
  };
}
