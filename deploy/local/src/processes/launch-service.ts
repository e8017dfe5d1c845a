// The local run: starts one service as a Node process of its own.
// Guarantees: all its output goes to its log file. Ctrl-C reaches it only through us. On Linux it does not outlive us.
import { rename, stat } from "node:fs/promises";
import { execPath } from "node:process";
import { launchProcess } from "@petrel/shared/embedded-redis/launch-process";
import type { Environment } from "@petrel/shared/embedded-redis/run-command";
import { LocalRunError } from "../local-run-error.js";
import type { RunningProcess } from "./running-process.js";

const logTurnoverBytes = 32 * 1024 * 1024;

export interface LaunchServiceOptions {
  readonly name: string;
  /** For Node itself, before the script. */
  readonly nodeArguments?: readonly string[];
  /** The service's `dist/main.js`. */
  readonly script: string;
  readonly environment: Environment;
  readonly logFile: string;
  /** Put before the command: see dieWithParentPrefix. */
  readonly prefix: readonly string[];
}

/** @throws LocalRunError if the process cannot be created at all */
export async function launchService(options: LaunchServiceOptions): Promise<RunningProcess> {
  const { name, nodeArguments = [], script, environment, logFile, prefix } = options;
  await turnOver(logFile);
  const [command, ...args] = [...prefix, execPath, ...nodeArguments, script];
  const process = await launchProcess({ command, args, environment, logFile });
  if (process === undefined) throw new LocalRunError(`${name} could not be started: ${command} does not run`);
  const { pid, exited, signal } = process;
  return {
    pid,
    exited,
    stop: async () => {
      signal("SIGTERM");
      // A paused process does not receive SIGTERM.
      signal("SIGCONT");
      await exited;
    },
    signal,
  };
}

/** A large log becomes `<name>.log.1`, replacing the previous one. */
async function turnOver(logFile: string): Promise<void> {
  const size = await stat(logFile).then(
    (found) => found.size,
    () => 0,
  );
  if (size > logTurnoverBytes) await rename(logFile, `${logFile}.1`);
}
