// Embedded Redis: fetches Debian or Ubuntu packages and unpacks them into a directory.
// Guarantees: nothing is installed; at most the system's package lists are refreshed, and only as root.
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { EmbeddedRedisError } from "../embedded-redis-error.js";
import { runCommand, type CommandResult, type Environment } from "../run-command.js";

// As root, apt-get would drop to the user `_apt`, who may not write to our directories, and would warn about it.
const aptOptions = ["-q", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=2"];
const busyLock = /could not get lock|unable to lock/i;
const lockAttempts = 60;

/** Whether this machine has the tools; the lists may still be missing. */
export async function hasApt(environment: Environment): Promise<boolean> {
  const results = await Promise.all([
    runCommand("apt-get", ["--version"], { environment, deadlineMs: 10_000 }),
    runCommand("apt-cache", ["--version"], { environment, deadlineMs: 10_000 }),
    runCommand("dpkg-deb", ["--version"], { environment, deadlineMs: 10_000 }),
  ]);
  return results.every(({ code }) => code === 0);
}

/** @returns the upstream version that would be fetched ("7.0.15"); undefined for an unknown package */
export async function candidateVersion(
  packageName: string,
  environment: Environment,
): Promise<string | undefined> {
  const { stdout } = await runCommand("apt-cache", ["show", "--no-all-versions", packageName], {
    environment,
  });
  return /^Version: (?:\d+:)?(\d+\.\d+(?:\.\d+)?)/m.exec(stdout)?.[1];
}

/** The packages that one depends on: alternatives included, providers of virtual ones not. */
export async function dependenciesOf(packageName: string, environment: Environment): Promise<string[]> {
  const { stdout } = await runCommand(
    "apt-cache",
    ["depends", "--important", "--no-recommends", packageName],
    { environment },
  );
  return [...stdout.matchAll(/^[ |]*(?:Pre)?Depends: ([a-z0-9][a-z0-9.+-]*)/gm)].flatMap(
    ([, name]) => name ?? [],
  );
}

/**
 * Refreshes the package lists; waits if another process is doing the same.
 * @throws EmbeddedRedisError "fetch-failed"
 */
export async function refreshLists(environment: Environment): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const result = await runCommand("apt-get", [...aptOptions, "update"], {
      environment,
      deadlineMs: 180_000,
    });
    if (result.code === 0) return;
    if (attempt >= lockAttempts || !busyLock.test(result.stderr)) throw failed("apt-get update", result);
    await sleep(1_000);
  }
}

/**
 * Downloads packages and unpacks them into one tree.
 * @param directory gets `root/` with the packages' files
 * @throws EmbeddedRedisError "fetch-failed"
 */
export async function unpackPackages(
  names: readonly string[],
  directory: string,
  environment: Environment,
): Promise<void> {
  const downloads = join(directory, "downloads");
  const root = join(directory, "root");
  await Promise.all([mkdir(downloads, { recursive: true }), mkdir(root, { recursive: true })]);
  const fetched = await runCommand("apt-get", [...aptOptions, "download", ...names], {
    environment,
    cwd: downloads,
  });
  if (fetched.code !== 0) throw failed(`apt-get download ${names.join(" ")}`, fetched);
  for (const file of await readdir(downloads)) {
    if (!file.endsWith(".deb")) continue;
    const unpacked = await runCommand("dpkg-deb", ["-x", join(downloads, file), root], { environment });
    if (unpacked.code !== 0) throw failed(`dpkg-deb -x ${file}`, unpacked);
  }
  await rm(downloads, { recursive: true, force: true });
}

function failed(command: string, { stderr }: CommandResult): EmbeddedRedisError {
  const said = stderr.split("\n").filter((line) => /^E:|not found|ENOENT/.test(line));
  const reason = (said.length > 0 ? said : stderr.trim().split("\n").slice(-1)).join(" ");
  return new EmbeddedRedisError("fetch-failed", `${command} failed: ${reason}`);
}
