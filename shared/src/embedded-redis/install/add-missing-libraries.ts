// Embedded Redis: the shared libraries that an unpacked server needs and the system lacks.
// Guarantees: afterwards the loader finds all of them; otherwise an error names those it does not.
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { EmbeddedRedisError } from "../embedded-redis-error.js";
import { dependenciesOf, unpackPackages } from "./fetch-apt-packages.js";
import { runtimeEnvironment, serverNames } from "../inspect-server.js";
import { runCommand, type Environment } from "../run-command.js";

// Each round may bring libraries that need others.
const rounds = 6;

export interface AddLibrariesOptions {
  readonly environment: Environment;
  readonly onProgress: (line: string) => void;
}

/**
 * Adds the packages of the shared libraries that the system lacks, and of those that these need in turn.
 * @param directory with `root/`, where the packages that need them are unpacked
 * @throws EmbeddedRedisError "fetch-failed" if no package has one of them
 */
export async function addMissingLibraries(
  directory: string,
  packages: readonly string[],
  { environment, onProgress }: AddLibrariesOptions,
): Promise<void> {
  const known = new Set<string>(packages);
  let candidates = await dependenciesOfAll(packages, environment);
  for (let round = 0; round < rounds; round++) {
    const missing = await missingLibraries(directory, environment);
    if (missing.length === 0) return;
    const wanted = choosePackages(missing, candidates).filter((name) => !known.has(name));
    if (wanted.length === 0) break;
    onProgress(`redis … fetching the libraries it needs: ${wanted.join(", ")}`);
    await unpackPackages(wanted, directory, environment);
    for (const name of wanted) known.add(name);
    candidates = [...candidates, ...(await dependenciesOfAll(wanted, environment))];
  }
  const missing = await missingLibraries(directory, environment);
  if (missing.length > 0) {
    throw new EmbeddedRedisError("fetch-failed", `no package found for ${missing.join(", ")}`);
  }
}

async function dependenciesOfAll(packages: readonly string[], environment: Environment): Promise<string[]> {
  return (await Promise.all(packages.map((name) => dependenciesOf(name, environment)))).flat();
}

/** The names (such as "liblzf.so.1") of the libraries that the loader cannot find. */
async function missingLibraries(directory: string, environment: Environment): Promise<string[]> {
  const root = join(directory, "root");
  const libraryDirectories = await findLibraryDirectories(root);
  const missing = new Set<string>();
  for (const name of serverNames) {
    const { stdout } = await runCommand("ldd", [join(root, "usr", "bin", name)], {
      environment: runtimeEnvironment({ libraryDirectories }, environment),
    });
    for (const [, library] of stdout.matchAll(/^\s*(\S+) => not found/gm)) missing.add(library ?? "");
  }
  return [...missing];
}

/**
 * Packages are named after the library and its version (Debian Policy 8.1): libjemalloc.so.2 is in libjemalloc2,
 * liblua5.1.so.0 in liblua5.1-0, libssl.so.3 in libssl3 or libssl3t64. If one has no such package, all candidates are
 * taken.
 */
export function choosePackages(missing: readonly string[], candidates: readonly string[]): string[] {
  const chosen = new Set<string>();
  for (const library of missing) {
    const stem = library.replace(".so.", "").replace(/[-_]/g, "");
    const matching = candidates.filter((name) => name.replace(/-/g, "").startsWith(stem));
    const fallback = candidates.filter((name) => /^(lib|lua)/.test(name) && !name.startsWith("libc6"));
    for (const name of matching.length > 0 ? matching : fallback) chosen.add(name);
  }
  return [...chosen];
}

/** The directories of an unpacked tree that hold shared libraries. */
export async function findLibraryDirectories(root: string): Promise<string[]> {
  const found = new Set<string>();
  for (const top of ["lib", "usr/lib"]) {
    const start = join(root, top);
    const entries = await readdir(start, { recursive: true, withFileTypes: true }).catch(() => []);
    for (const entry of entries) {
      if (/\.so(\.|$)/.test(entry.name)) found.add(entry.parentPath);
    }
  }
  return [...found].toSorted();
}
