// Tests and benches only: a simulator of `npm start` as its own process.
// Guarantees: resolves when it is ready; `stop` leaves no process behind, nor does the end of this one.
import { spawn } from "node:child_process";
import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dieWithParentPrefix } from "../../embedded-redis/die-with-parent.js";
import { waitFor } from "../wait-for.js";
import { builtTree, serviceFile } from "./service-files.js";

export interface SimulatorProcess {
  readonly pid: number;
  /** The control API. */
  readonly call: <T>(method: string, path: string, body?: unknown) => Promise<T>;
  readonly stop: () => Promise<void>;
}

export interface SimulatorProcessOptions {
  /** Such as "wechat-simulator": a folder of deploy/local. */
  readonly name: string;
  readonly port: number;
  readonly environment: Readonly<Record<string, string>>;
}

const STOP_DEADLINE_MS = 10_000;

/** Needs `tsc -b`: it runs deploy/local/dist. */
export async function startSimulatorProcess({
  name,
  port,
  environment,
}: SimulatorProcessOptions): Promise<SimulatorProcess> {
  const directory = await mkdtemp(join(tmpdir(), `petrel-${name}-`));
  const controlUrl = `http://127.0.0.1:${port}`;
  // A test's worker may be killed without a chance to clean up.
  const prefix = await dieWithParentPrefix(process.env);
  const [command, ...args] = [...prefix, process.execPath, serviceFile(`deploy/local/dist/${name}/main.js`)];
  // A file: a pipe without a reader would keep it from ending.
  const logFile = join(directory, "log");
  const log = await open(logFile, "a");
  const child = spawn(command, args, {
    cwd: builtTree,
    env: { PATH: process.env["PATH"], PORT: String(port), ...environment },
    stdio: ["ignore", log.fd, log.fd],
  });
  await log.close();
  // However the test process ends, nothing is left running.
  const killWithUs = (): void => void child.kill("SIGKILL");
  process.once("exit", killWithUs);
  const exited = new Promise<void>((resolve) => {
    child.once("exit", () => {
      process.off("exit", killWithUs);
      resolve();
    });
  });
  const stop = async (): Promise<void> => {
    child.kill("SIGCONT");
    child.kill("SIGTERM");
    const timer = setTimeout(killWithUs, STOP_DEADLINE_MS);
    await exited;
    clearTimeout(timer);
    await rm(directory, { recursive: true, force: true });
  };
  async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await fetch(controlUrl + path, {
      method,
      ...(body === undefined
        ? {}
        : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return (text === "" ? undefined : JSON.parse(text)) as T;
  }

  try {
    await waitFor(
      async () => {
        if (child.exitCode !== null) return true;
        return (await fetch(`${controlUrl}/health/ready`)).ok;
      },
      { what: `the ${name}`, deadlineMs: 20_000 },
    );
    if (child.exitCode !== null) throw new Error(`the ${name} ended at its start`);
  } catch (error) {
    const output = await readFile(logFile, "utf8");
    await stop();
    throw new Error(`${String(error)}\n${output}`, { cause: error });
  }
  return { pid: child.pid ?? 0, call, stop };
}
