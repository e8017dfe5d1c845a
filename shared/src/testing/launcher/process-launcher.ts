// worker-launcher -> here -> launcher-main: has a small process start others, in place of this large one.
// Guarantees: as a LaunchProcess; what it has launched does not outlive this process.
import { fork, type ChildProcess } from "node:child_process";
import { join } from "node:path";
import type {
  LaunchedProcess,
  LaunchOrder,
  LaunchProcess,
  ProcessExit,
} from "../../embedded-redis/launch-process.js";
import { builtTree } from "../cluster/service-files.js";

export type LauncherOrder = LaunchOrder & { readonly id: number };

export type LauncherAnswer =
  | { readonly told: "launched"; readonly id: number; readonly pid: number }
  | { readonly told: "no-command"; readonly id: number }
  | { readonly told: "failed"; readonly id: number; readonly why: string }
  | { readonly told: "exited"; readonly id: number; readonly exit: ProcessExit };

const LAUNCHER_MAIN = join(builtTree, "shared/dist/testing/launcher/launcher-main.js");
const LOST: ProcessExit = { code: null, signal: "SIGKILL" };

interface Launch {
  readonly launched: (process: LaunchedProcess | undefined) => void;
  readonly failed: (error: Error) => void;
  readonly exited: (exit: ProcessExit) => void;
  readonly whenExited: Promise<ProcessExit>;
}

export class ProcessLauncher {
  #child: ChildProcess | undefined;
  #lastId = 0;
  readonly #launches = new Map<number, Launch>();
  /** Of these, the ones that have not been answered. */
  readonly #unanswered = new Set<number>();

  /** Needs `tsc -b`. @throws if its log file cannot be opened, or the launcher dies meanwhile */
  readonly launch: LaunchProcess = (order) => {
    const child = (this.#child ??= this.#start());
    const id = ++this.#lastId;
    return new Promise((launched, failed) => {
      let exited: (exit: ProcessExit) => void = () => undefined;
      const whenExited = new Promise<ProcessExit>((resolve) => (exited = resolve));
      this.#launches.set(id, { launched, failed, exited, whenExited });
      this.#unanswered.add(id);
      // Whoever waits for it must not end meanwhile.
      child.channel?.ref();
      child.send({ ...order, id } satisfies LauncherOrder);
    });
  };

  #start(): ChildProcess {
    const child = fork(LAUNCHER_MAIN, [], {
      execArgv: [],
      // Its own process group: Ctrl-C ends it with this process, by the channel.
      detached: true,
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    child.on("message", (answer: LauncherAnswer) => this.#hear(answer));
    child.once("exit", () => {
      this.#child = undefined;
      for (const launch of this.#launches.values()) {
        launch.failed(new Error("the launcher has died"));
        launch.exited(LOST);
      }
      this.#launches.clear();
      this.#unanswered.clear();
    });
    // It ends when the channel closes, and keeps nobody from ending.
    child.unref();
    child.channel?.unref();
    return child;
  }

  #hear(answer: LauncherAnswer): void {
    const { id } = answer;
    const launch = this.#launches.get(id);
    if (launch === undefined) return;
    this.#unanswered.delete(id);
    if (this.#unanswered.size === 0) this.#child?.channel?.unref();
    switch (answer.told) {
      case "launched":
        launch.launched(this.#running(id, answer.pid, launch.whenExited));
        return;
      case "exited":
        launch.exited(answer.exit);
        break;
      case "no-command":
        launch.launched(undefined);
        break;
      case "failed":
        launch.failed(new Error(answer.why));
    }
    this.#launches.delete(id);
  }

  #running(id: number, pid: number, exited: Promise<ProcessExit>): LaunchedProcess {
    return {
      pid,
      exited,
      signal: (signal) => {
        if (!this.#launches.has(id)) return;
        try {
          process.kill(pid, signal);
        } catch {
          // It has just ended, and `exited` is about to tell.
        }
      },
    };
  }
}
