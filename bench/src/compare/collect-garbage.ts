// Bench: makes a Node process collect its garbage, so that its memory is what it holds.
// Guarantees: a process that is not Node is left alone; nothing is changed but that a debugger could come in, from this
// machine only. The process was started with `--inspect-port=0`, so that several find a port.
import { readdir, readFile, readlink } from "node:fs/promises";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { WebSocket } from "ws";

const LISTENS = "0A";

/** @returns false where it is not Node */
export async function collectGarbage(pid: number): Promise<boolean> {
  const program = await readlink(`/proc/${pid}/exe`).catch(() => "");
  if (!program.endsWith("/node")) return false;
  let url = await findInspector(pid);
  if (url === undefined) {
    process.kill(pid, "SIGUSR1");
    url = await waitFor(() => findInspector(pid), { what: `process ${pid} to open its inspector` });
  }
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
  return true;
}

async function findInspector(pid: number): Promise<string | undefined> {
  for (const port of await listeningPorts(pid)) {
    const answer = await fetch(`http://127.0.0.1:${port}/json/list`).catch(() => undefined);
    if (answer?.ok !== true) continue;
    const targets = (await answer.json().catch(() => [])) as { readonly webSocketDebuggerUrl?: string }[];
    const url = Array.isArray(targets) ? targets[0]?.webSocketDebuggerUrl : undefined;
    if (url !== undefined) return url;
  }
  return undefined;
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
