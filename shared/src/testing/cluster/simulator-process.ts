// start-apns-simulator, start-wechat-simulator -> here -> worker-host: a simulator of `npm start`, for tests and benches.
// Guarantees: resolves when it is ready; beside the services of test clusters, or where it is measured as a process of
// its own. `stop` leaves nothing running, nor does the end of this process.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { waitFor } from "../wait-for.js";
import { askService } from "./ask-service.js";
import { builtTree, serviceFile } from "./service-files.js";
import type { HostedSimulator } from "./service-host.js";
import { launchService, untilEnded } from "./service-process.js";
import { workerHost } from "./worker-host.js";

export interface SimulatorProcess {
  readonly pid: number;
  /** The control API. */
  readonly call: <T>(method: string, path: string, body?: unknown) => Promise<T>;
  readonly stop: () => Promise<void>;
}

export interface SimulatorProcessOptions {
  /** A folder of deploy/local. */
  readonly name: HostedSimulator;
  readonly port: number;
  readonly environment: Readonly<Record<string, string>>;
  /** In a process of its own; false by default. */
  readonly alone?: boolean;
}

/** Needs `tsc -b`: it runs deploy/local/dist. */
export async function startSimulatorProcess({
  name,
  port,
  environment,
  alone = false,
}: SimulatorProcessOptions): Promise<SimulatorProcess> {
  const directory = await mkdtemp(join(tmpdir(), `petrel-${name}-`));
  const controlUrl = `http://127.0.0.1:${port}`;
  const logFile = join(directory, "log");
  const settings = { PATH: process.env["PATH"], ...environment };
  const simulator = alone
    ? await launchService(
        builtTree,
        [serviceFile(`deploy/local/dist/${name}/main.js`)],
        name,
        port,
        logFile,
        settings,
      )
    : workerHost().start({ kind: name, name, port, logFile, environment: settings });
  const stop = async (): Promise<void> => {
    simulator.signal("SIGCONT");
    simulator.signal("SIGTERM");
    await untilEnded(simulator);
    await rm(directory, { recursive: true, force: true });
  };
  async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await askService(controlUrl + path, {
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
        if (!simulator.isRunning()) return true;
        return (await askService(`${controlUrl}/health/ready`)).ok;
      },
      { what: `the ${name}`, deadlineMs: 20_000 },
    );
    if (!simulator.isRunning()) throw new Error(`the ${name} ended at its start`);
  } catch (error) {
    const output = await simulator.log();
    await stop();
    throw new Error(`${String(error)}\n${output}`, { cause: error });
  }
  return { pid: simulator.pid, call, stop };
}
