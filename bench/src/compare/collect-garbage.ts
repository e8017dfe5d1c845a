// Bench: makes a Node process collect its garbage, so that its memory is what it holds.
// Guarantees: a process that is not Node is left alone; nothing is changed but that a debugger could come in, from this
// machine only. The process was started with `--inspect-port=0`, so that several find a port.
import { readdir, readFile, readlink } from "node:fs/promises";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { WebSocket } from "ws";

const LISTENS = "0A";

export interface Inspector {
  /** Resolves when only what is held is left. */
  readonly collectGarbage: () => Promise<void>;
}

/** Once for each process. @returns undefined where it is not Node */
export async function openInspector(pid: number): Promise<Inspector | undefined> {
  const program = await readlink(`/proc/${pid}/exe`).catch(() => "");
  if (!program.endsWith("/node")) return undefined;
  // Its own ports are not asked: what they make of a stranger's request is their affair.
  const before = new Set(await listeningPorts(pid));
  process.kill(pid, "SIGUSR1");
  const port = await waitFor(async () => (await listeningPorts(pid)).find((one) => !before.has(one)), {
    what: `process ${pid} to open its inspector`,
  });
  const targets = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as {
    readonly webSocketDebuggerUrl: string;
  }[];
  const [target] = targets;
  if (target === undefined) throw new Error(`nothing to inspect in process ${pid}`);
  return { collectGarbage: () => collectGarbage(target.webSocketDebuggerUrl) };
}

async function collectGarbage(url: string): Promise<void> {
  const socket = new WebSocket(url);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("open", () => socket.send('{"id":1,"method":"HeapProfiler.collectGarbage"}'));
      socket.once("message", () => resolve());
      socket.once("error", reject);
    });
  } finally {
    socket.close();
  }
}

/** Of this process, on 127.0.0.1. */
async function listeningPorts(pid: number): Promise<number[]> {
  const names = await readdir(`/proc/${pid}/fd`);
  const links = await Promise.all(names.map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => "")));
  const sockets = new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []));
  const table = await readFile(`/proc/${pid}/net/tcp`, "utf8");
  return table.split("\n").flatMap((line) => {
    const [, local = "", , state, , , , , , inode = ""] = line.trim().split(/\s+/);
    if (state !== LISTENS || !sockets.has(inode)) return [];
    return [Number.parseInt(local.split(":")[1] ?? "", 16)];
  });
}
