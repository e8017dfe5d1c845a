// start-redis-server, the local run, test clusters -> here: starts a process that stays, and writes to a log file.
import { spawn } from "node:child_process";
import { open } from "node:fs/promises";
import type { Environment } from "./run-command.js";

export interface LaunchOrder {
  readonly command: string;
  readonly args: readonly string[];
  /** This process' own by default. */
  readonly cwd?: string;
  readonly environment: Environment;
  /** All of its output is added here: errors in its settings stand beside its log. */
  readonly logFile: string;
  /** What it reads from its standard input; nothing by default. */
  readonly input?: string;
}

export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface LaunchedProcess {
  readonly pid: number;
  /** Resolves when it has ended, whoever ended it. */
  readonly exited: Promise<ProcessExit>;
  /** Nothing once it has ended. */
  readonly signal: (signal: NodeJS.Signals) => void;
}

/**
 * Starts a process in its own process group, so a terminal's Ctrl-C reaches only whoever launched it.
 * Guarantees: when it resolves, the process runs or has ended; `exited` resolves exactly once.
 * @returns undefined if the command cannot be run at all
 */
export type LaunchProcess = (order: LaunchOrder) => Promise<LaunchedProcess | undefined>;

/** As a child of this process. It outlives it, unless the command itself prevents that: see dieWithParentPrefix. */
export const launchProcess: LaunchProcess = async ({ command, args, cwd, environment, logFile, input }) => {
  const log = await open(logFile, "a", 0o600);
  const child = spawn(command, args, {
    cwd,
    env: { ...environment },
    stdio: [input === undefined ? "ignore" : "pipe", log.fd, log.fd],
    detached: true,
  });
  const exited = new Promise<ProcessExit>((resolve) => {
    child.once("error", () => resolve({ code: null, signal: null }));
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
  // If the process ended before it read them, `exited` tells.
  child.stdin?.on("error", () => undefined);
  child.stdin?.end(input);
  await log.close();
  const { pid } = child;
  return pid === undefined ? undefined : { pid, exited, signal: (signal) => void child.kill(signal) };
};
