// Embedded Redis: the distribution's own server, fetched once into the project's cache.
// Guarantees: the directory appears whole or not at all, also when several processes do this at once.
import { randomBytes } from "node:crypto";
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { addMissingLibraries, findLibraryDirectories } from "./add-missing-libraries.js";
import { EmbeddedRedisError } from "./embedded-redis-error.js";
import { candidateVersion, hasApt, refreshLists, unpackPackages } from "./fetch-apt-packages.js";
import { inspectServer, serverNames, type RedisBinary } from "./inspect-server.js";
import type { Environment } from "./run-command.js";
import { isSupported } from "./server-version.js";

// Debian keeps the server's binary in the tools package; the server package has the link to it.
const families = [
  { product: "Redis", packages: ["redis-server", "redis-tools"], versionedBy: "redis-tools" },
  { product: "Valkey", packages: ["valkey-server", "valkey-tools"], versionedBy: "valkey-tools" },
] as const;

export interface InstallOptions {
  /** Where the server is to be, such as `.cache/redis/debian-12-x64`; its parent is made. */
  readonly directory: string;
  readonly environment: Environment;
  readonly isRoot: boolean;
  readonly onProgress: (line: string) => void;
}

/**
 * @returns undefined where this is no machine with apt-get, or its distribution has no server that is new enough
 * @throws EmbeddedRedisError "fetch-failed" where apt-get should have been able to, and was not
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

  const temporary = `${directory}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`;
  try {
    await mkdir(temporary, { recursive: true });
    onProgress(
      `redis … fetching the distribution's ${family.packages.join(" and ")} into ${dirname(directory)}`,
    );
    try {
      await unpackPackages(family.packages, temporary, environment);
    } catch (error) {
      // Lists that are behind the mirror name files that are gone.
      if (refreshed || !isRoot) throw error;
      onProgress("redis … the package lists are stale, refreshing them (apt-get update)");
      await refreshLists(environment);
      await unpackPackages(family.packages, temporary, environment);
    }
    await addMissingLibraries(temporary, family.packages, options);
    await moveIntoPlace(temporary, directory, environment);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  const binary = await readInstalled(directory, environment);
  if (binary === undefined) {
    throw new EmbeddedRedisError("fetch-failed", `the server unpacked into ${directory} does not run here`);
  }
  return binary;
}

/** @returns the server of an earlier installation; undefined where there is none, or it does not run (any more) */
export async function readInstalled(
  directory: string,
  environment: Environment,
): Promise<RedisBinary | undefined> {
  const libraryDirectories = await findLibraryDirectories(join(directory, "root"));
  for (const name of serverNames) {
    const path = join(directory, "root", "usr", "bin", name);
    const binary = await inspectServer(path, libraryDirectories, environment);
    if (binary !== undefined) return binary;
  }
  return undefined;
}

async function supportedFamily(environment: Environment): Promise<(typeof families)[number] | undefined> {
  for (const family of families) {
    const version = await candidateVersion(family.versionedBy, environment);
    if (version !== undefined && isSupported({ product: family.product, version })) return family;
  }
  return undefined;
}

/** The first of several processes wins; one that is there but does not run here is moved out of the way. */
async function moveIntoPlace(temporary: string, directory: string, environment: Environment): Promise<void> {
  if (await renamed(temporary, directory)) return;
  if ((await readInstalled(directory, environment)) !== undefined) return;
  const aside = `${temporary}.broken`;
  await renamed(directory, aside);
  await renamed(temporary, directory);
  await rm(aside, { recursive: true, force: true });
}

async function renamed(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOTEMPTY" || code === "EEXIST" || code === "ENOENT") return false;
    throw error;
  }
}
