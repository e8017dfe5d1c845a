// start-cluster -> here: one service of a test cluster, in a process of its own.
// Guarantees: its output is kept; it does not outlive the process that started it.
import { spawn, type ChildProcess } from "node:child_process";
import { createWriteStream } from "node:fs";
import { readFile } from "node:fs/promises";

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

export function launchService(
  release: string,
  nodeArguments: readonly string[],
  name: string,
  port: number,
  logFile: string,
  environment: NodeJS.ProcessEnv,
  nodeBinary: string = process.execPath,
): ServiceProcess {
  const child: ChildProcess = spawn(nodeBinary, nodeArguments, {
    cwd: release,
    env: { ...environment, PORT: String(port) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  // A restarted process appends to its predecessor's log.
  const output = createWriteStream(logFile, { flags: "a" });
  child.stdout?.pipe(output, { end: false });
  child.stderr?.pipe(output, { end: false });
  // However the test process ends, nothing is left running.
  const killWithUs = (): void => void child.kill("SIGKILL");
  process.once("exit", killWithUs);
  const exited = new Promise<number | string>((resolve) => {
    child.once("exit", (code, signal) => {
      process.off("exit", killWithUs);
      resolve(code ?? signal ?? "unknown");
    });
  });
  return {
    name,
    port,
    url: `http://127.0.0.1:${port}`,
    pid: child.pid ?? 0,
    isRunning: () => child.exitCode === null && child.signalCode === null,
    signal: (signal) => void child.kill(signal),
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
