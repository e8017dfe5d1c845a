// The local run: starts one service as a Node process of its own.
// Guarantees: all its output goes to its log file. Ctrl-C reaches it only through us. On Linux it does not outlive us.
import { spawn } from "node:child_process";
import { open, rename, stat } from "node:fs/promises";
import type { Environment } from "@petrel/shared/embedded-redis/run-command";
import { LocalRunError } from "../local-run-error.js";
import type { ProcessExit, RunningProcess } from "./running-process.js";

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
  const [command, ...args] = [...prefix, process.execPath, ...nodeArguments, script];
  const log = await open(logFile, "a", 0o600);
  const child = spawn(command, args, {
    env: { ...environment },
    stdio: ["ignore", log.fd, log.fd],
    // Its own process group: a terminal's Ctrl-C goes to the supervisor, which stops the services in order.
    detached: true,
  });
  const exited = new Promise<ProcessExit>((resolve) => {
    child.once("error", () => resolve({ code: null, signal: null }));
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
  await log.close();
  const { pid } = child;
  if (pid === undefined) throw new LocalRunError(`${name} could not be started: ${command} does not run`);
  return {
    pid,
    exited,
    stop: async () => {
      child.kill("SIGTERM");
      // A paused process does not receive SIGTERM.
      child.kill("SIGCONT");
      await exited;
    },
    signal: (signal) => void child.kill(signal),
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
