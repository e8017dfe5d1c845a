// Embedded Redis: the distribution's own server, fetched once into the project's cache.
// Guarantees: the directory appears whole or not at all, even if several processes do this at once.
import { dirname } from "node:path";
import { addMissingLibraries } from "./add-missing-libraries.js";
import { candidateVersion, hasApt, refreshLists, unpackPackages } from "./fetch-apt-packages.js";
import type { RedisBinary } from "../inspect-server.js";
import { installWhole } from "./installed-server.js";
import type { Environment } from "../run-command.js";
import { isSupported } from "../server-version.js";

// Debian keeps the server's binary in the tools package; the server package only links to it.
const families = [
  { product: "Redis", packages: ["redis-server", "redis-tools"], versionedBy: "redis-tools" },
  { product: "Valkey", packages: ["valkey-server", "valkey-tools"], versionedBy: "valkey-tools" },
] as const;

export interface InstallOptions {
  /** Where the server goes, such as `.cache/redis/debian-12-x64`; its parent is created. */
  readonly directory: string;
  readonly environment: Environment;
  readonly isRoot: boolean;
  readonly onProgress: (line: string) => void;
}

/**
 * @returns undefined if this machine has no apt-get, or its distribution no server that is new enough
 * @throws EmbeddedRedisError "fetch-failed" if apt-get is there but fails
 */
export async function installFromApt(options: InstallOptions): Promise<RedisBinary | undefined> {
  const { directory, environment, isRoot, onProgress } = options;
  if (!(await hasApt(environment))) return undefined;
  let family = await supportedFamily(environment);
  let refreshed = false;
  if (family === undefined && isRoot) {
    onProgress("redis … refreshing the package lists (apt-get update)");
    await refreshLists(environment);
    refreshed = true;
    family = await supportedFamily(environment);
  }
  if (family === undefined) return undefined;

  const { packages } = family;
  return installWhole(directory, environment, async (temporary) => {
    onProgress(`redis … fetching the distribution's ${packages.join(" and ")} into ${dirname(directory)}`);
    try {
      await unpackPackages(packages, temporary, environment);
    } catch (error) {
      // Outdated lists name files that the mirror no longer has.
      if (refreshed || !isRoot) throw error;
      onProgress("redis … the package lists are stale, refreshing them (apt-get update)");
      await refreshLists(environment);
      await unpackPackages(packages, temporary, environment);
    }
    await addMissingLibraries(temporary, packages, options);
  });
}

async function supportedFamily(environment: Environment): Promise<(typeof families)[number] | undefined> {
  for (const family of families) {
    const version = await candidateVersion(family.versionedBy, environment);
    if (version !== undefined && isSupported({ product: family.product, version })) return family;
  }
  return undefined;
}
