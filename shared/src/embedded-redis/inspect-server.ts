// Embedded Redis: identifies a server's binary by running it with --version.
// Guarantees: a binary returned here has run on this machine.
import { access, constants } from "node:fs/promises";
import { join } from "node:path";
import { runCommand, type Environment } from "./run-command.js";
import { parseVersionOutput, type ServerVersion } from "./server-version.js";

/** A server's binary with what it needs to run. */
export interface RedisBinary extends ServerVersion {
  readonly path: string;
  /** Directories of unpacked shared libraries, for LD_LIBRARY_PATH; empty for the system's own server. */
  readonly libraryDirectories: readonly string[];
}

export const serverNames = ["redis-server", "valkey-server"] as const;

/** The environment to run a binary in, with its own libraries first. */
export function runtimeEnvironment(
  { libraryDirectories }: Pick<RedisBinary, "libraryDirectories">,
  environment: Environment,
): Environment {
  if (libraryDirectories.length === 0) return environment;
  const inherited = environment["LD_LIBRARY_PATH"];
  const paths = inherited === undefined || inherited === "" ? [] : [inherited];
  return { ...environment, LD_LIBRARY_PATH: [...libraryDirectories, ...paths].join(":") };
}

/** @returns undefined if the binary is missing, does not run, or is no such server */
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

/** Every server on the PATH that runs, in PATH order. */
export async function serversOnPath(environment: Environment): Promise<RedisBinary[]> {
  const directories = (environment["PATH"] ?? "").split(":").filter((directory) => directory !== "");
  const candidates = directories.flatMap((directory) => serverNames.map((name) => join(directory, name)));
  const inspected = await Promise.all(candidates.map((path) => inspectServer(path, [], environment)));
  return inspected.filter((binary) => binary !== undefined);
}
