// Embedded Redis: a server's directory in the project's cache.
// Guarantees: the directory appears whole or not at all, even if several processes do this at once.
import { randomBytes } from "node:crypto";
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { findLibraryDirectories } from "./add-missing-libraries.js";
import { EmbeddedRedisError } from "../embedded-redis-error.js";
import { inspectServer, serverNames, type RedisBinary } from "../inspect-server.js";
import type { Environment } from "../run-command.js";

/** The path of its binary below the directory, as in the distribution's packages. */
export function serverPath(directory: string, name: (typeof serverNames)[number]): string {
  return join(directory, "root", "usr", "bin", name);
}

/** @returns the server of an earlier installation; undefined if there is none, or it does not run (any more) */
export async function readInstalled(
  directory: string,
  environment: Environment,
): Promise<RedisBinary | undefined> {
  const libraryDirectories = await findLibraryDirectories(join(directory, "root"));
  for (const name of serverNames) {
    const binary = await inspectServer(serverPath(directory, name), libraryDirectories, environment);
    if (binary !== undefined) return binary;
  }
  return undefined;
}

/**
 * @param fill puts everything into a directory that will become `directory`
 * @throws EmbeddedRedisError "fetch-failed" if the result does not run
 */
export async function installWhole(
  directory: string,
  environment: Environment,
  fill: (temporary: string) => Promise<void>,
): Promise<RedisBinary> {
  const temporary = `${directory}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`;
  try {
    await mkdir(temporary, { recursive: true });
    await fill(temporary);
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

/** The first of several processes wins; an existing server that does not run here is moved out of the way. */
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
