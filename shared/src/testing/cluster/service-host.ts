// worker-host -> here -> host-services: starts services together in one process, which is kept for the next cluster.
// Guarantees: its code is loaded once, so a further service costs little; a service here can be stopped, but not killed
// or paused. If the process dies, all of its services have.
import { fork, type ChildProcess } from "node:child_process";
import { readFile } from "node:fs/promises";
import { Socket } from "node:net";
import { bundlesOf, builtTree, SERVICE_BUNDLES, serviceFile } from "./service-files.js";
import type { ServiceProcess } from "./service-process.js";

export type HostedKind = "auth" | "collect" | "dispatch" | "push-node";
export type HostedSimulator = "apns-simulator" | "wechat-simulator";

export interface StartOrder {
  readonly do: "start";
  readonly id: number;
  readonly kind: HostedKind | HostedSimulator;
  readonly name: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly logFile: string;
}

export type HostOrder = StartOrder | { readonly do: "stop"; readonly id: number };

export interface HostAnswer {
  readonly id: number;
  readonly exitCode: number;
}

export type HostedService = Omit<StartOrder, "do" | "id"> & { readonly port: number };

const HOST_MAIN = "shared/dist/testing/cluster/host-services.js";
const MAX_OUTPUT = 64 * 1024;

export class ServiceHost {
  readonly #tree: string;
  #child: ChildProcess | undefined;
  /** What its services do not log: Node's own last words. */
  #output = "";
  #lastId = 0;
  readonly #onExit = new Map<number, (code: number | string) => void>();

  /** @param tree the built tree whose services it runs; another release's takes the same orders, or needs processes */
  constructor(tree = builtTree) {
    this.#tree = tree;
  }

  /** Needs `tsc -b`. */
  start({ port, logFile, ...service }: HostedService): ServiceProcess {
    const child = (this.#child ??= this.#launch());
    const id = ++this.#lastId;
    let isRunning = true;
    const exited = new Promise<number | string>((resolve) => {
      this.#onExit.set(id, (code) => {
        isRunning = false;
        this.#onExit.delete(id);
        resolve(code);
      });
    });
    const environment = { ...service.environment, PORT: String(port) };
    child.send({ ...service, do: "start", id, environment, logFile } satisfies HostOrder);
    return {
      name: service.name,
      port,
      url: `http://127.0.0.1:${port}`,
      pid: child.pid ?? 0,
      isRunning: () => isRunning,
      signal: (signal) => {
        if (signal === "SIGTERM") {
          if (isRunning) child.send({ do: "stop", id } satisfies HostOrder);
        } else if (signal !== "SIGCONT")
          throw new Error(`${service.name} has no process of its own: see \`together\` of startCluster`);
      },
      exited,
      log: async () => (await readFile(logFile, "utf8").catch(() => "")) + (isRunning ? "" : this.#output),
    };
  }

  #launch(): ChildProcess {
    const child = fork(serviceFile(HOST_MAIN, this.#tree), [], {
      cwd: this.#tree,
      env: { PATH: process.env["PATH"], [SERVICE_BUNDLES]: bundlesOf(this.#tree) },
      execArgv: [],
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    const keep = (chunk: Buffer): void => {
      this.#output = (this.#output + chunk.toString()).slice(-MAX_OUTPUT);
    };
    child.stdout?.on("data", keep);
    child.stderr?.on("data", keep);
    child.on("message", ({ id, exitCode }: HostAnswer) => this.#onExit.get(id)?.(exitCode));
    child.once("exit", (code, signal) => {
      this.#child = undefined;
      // Each takes itself out.
      for (const end of Array.from(this.#onExit.values())) end(code ?? signal ?? "unknown");
    });
    // It ends when the channel closes, and keeps nobody from ending.
    child.unref();
    child.channel?.unref();
    for (const stream of [child.stdout, child.stderr]) if (stream instanceof Socket) stream.unref();
    return child;
  }
}
