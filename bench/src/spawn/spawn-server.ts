// Bench: one server process of a contender.
// Guarantees: resolves when it listens; gone after `stop`, and when this process ends.
import { spawn } from "node:child_process";
import { connect } from "node:net";
import { waitFor } from "@petrel/shared/testing/wait-for";

export interface ServerToSpawn {
  /** For errors. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly port: number;
}

export interface SpawnedServer {
  readonly pid: number;
  readonly port: number;
  readonly stop: () => Promise<void>;
}

const READY_DEADLINE_MS = 60_000;

export async function spawnServer({
  name,
  command,
  args,
  environment,
  port,
}: ServerToSpawn): Promise<SpawnedServer> {
  const child = spawn(command, args, {
    env: { PATH: process.env["PATH"], ...environment },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => (said = (said + chunk).slice(-4_000)));
  // Not SIGKILL: a server that forked takes its workers with it.
  const endWithUs = (): void => void child.kill("SIGTERM");
  process.once("exit", endWithUs);
  let isGone = false;
  const exited = new Promise<void>((resolve) => {
    const gone = (): void => {
      isGone = true;
      resolve();
    };
    child.once("exit", gone);
    child.once("error", gone);
  });
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), 5_000);
    await exited;
    clearTimeout(timer);
    process.off("exit", endWithUs);
  };
  try {
    await waitFor(async () => isGone || (await isListening(port)), {
      what: `${name} to listen`,
      deadlineMs: READY_DEADLINE_MS,
    });
    if (isGone) throw new Error(`${name} ended at its start`);
  } catch (error) {
    await stop();
    throw new Error(`${String(error)}\n${said}`, { cause: error });
  }
  return { pid: child.pid ?? 0, port, stop };
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => (socket.destroy(), resolve(true)));
    socket.once("error", () => resolve(false));
  });
}
