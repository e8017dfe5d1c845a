// Embedded Redis: what a server's binary is, learnt by running it with --version.
// Guarantees: a binary that is answered for here has been seen to run on this machine.
import { access, constants } from "node:fs/promises";
import { join } from "node:path";
import { runCommand, type Environment } from "./run-command.js";
import { parseVersionOutput, type ServerVersion } from "./server-version.js";

/** A server's binary with what it needs to run. */
export interface RedisBinary extends ServerVersion {
  readonly path: string;
  /** Directories of unpacked shared libraries, for LD_LIBRARY_PATH; empty for one of the system's. */
  readonly libraryDirectories: readonly string[];
}

export const serverNames = ["redis-server", "valkey-server"] as const;

/** The environment to run a binary in: its own libraries come first. */
export function runtimeEnvironment(
  { libraryDirectories }: Pick<RedisBinary, "libraryDirectories">,
  environment: Environment,
): Environment {
  if (libraryDirectories.length === 0) return environment;
  const inherited = environment["LD_LIBRARY_PATH"];
  const paths = inherited === undefined || inherited === "" ? [] : [inherited];
  return { ...environment, LD_LIBRARY_PATH: [...libraryDirectories, ...paths].join(":") };
}

/** @returns undefined where the binary is missing, does not run, or is no such server */
export async function inspectServer(
  path: string,
  libraryDirectories: readonly string[],
  environment: Environment,
): Promise<RedisBinary | undefined> {
  const isExecutable = await access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
  if (!isExecutable) return undefined;
  const result = await runCommand(path, ["--version"], {
    environment: runtimeEnvironment({ libraryDirectories }, environment),
    deadlineMs: 10_000,
  });
  const version = result.code === 0 ? parseVersionOutput(result.stdout) : undefined;
  return version === undefined ? undefined : { ...version, path, libraryDirectories };
}

/** Every server on the PATH that runs, in the PATH's order. */
export async function serversOnPath(environment: Environment): Promise<RedisBinary[]> {
  const directories = (environment["PATH"] ?? "").split(":").filter((directory) => directory !== "");
  const candidates = directories.flatMap((directory) => serverNames.map((name) => join(directory, name)));
  const inspected = await Promise.all(candidates.map((path) => inspectServer(path, [], environment)));
  return inspected.filter((binary) => binary !== undefined);
}
