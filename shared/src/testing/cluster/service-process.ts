// start-cluster -> here: one service of a test cluster, in a process of its own.
// Guarantees: its output is kept; it does not outlive the process that started it.
import { readFile } from "node:fs/promises";
import { launchFromWorker } from "../launcher/worker-launcher.js";

export interface ServiceProcess {
  /** Such as "collect" or "push-node-2". */
  readonly name: string;
  readonly port: number;
  readonly url: string;
  readonly pid: number;
  readonly isRunning: () => boolean;
  readonly signal: (signal: NodeJS.Signals) => void;
  /** Resolves with the exit code, or the signal that ended it. */
  readonly exited: Promise<number | string>;
  /** What it has logged so far. */
  readonly log: () => Promise<string>;
}

const STOP_DEADLINE_MS = 15_000;

/** @throws if Node does not run */
export async function launchService(
  release: string,
  nodeArguments: readonly string[],
  name: string,
  port: number,
  logFile: string,
  environment: NodeJS.ProcessEnv,
  nodeBinary: string = process.execPath,
): Promise<ServiceProcess> {
  const launched = await launchFromWorker({
    command: nodeBinary,
    args: nodeArguments,
    cwd: release,
    environment: { ...environment, PORT: String(port) },
    logFile,
  });
  if (launched === undefined) throw new Error(`${nodeBinary} does not run`);
  const { pid, signal } = launched;
  // However the test process ends, nothing is left running.
  const killWithUs = (): void => signal("SIGKILL");
  process.once("exit", killWithUs);
  let isRunning = true;
  const exited = launched.exited.then((exit) => {
    isRunning = false;
    process.off("exit", killWithUs);
    return exit.code ?? exit.signal ?? "unknown";
  });
  return {
    name,
    port,
    url: `http://127.0.0.1:${port}`,
    pid,
    isRunning: () => isRunning,
    signal,
    exited,
    log: () => readFile(logFile, "utf8").catch(() => ""),
  };
}

/** Kills it if it takes too long to end. */
export async function untilEnded(service: ServiceProcess): Promise<void> {
  const timer = setTimeout(() => service.signal("SIGKILL"), STOP_DEADLINE_MS);
  await service.exited;
  clearTimeout(timer);
}
