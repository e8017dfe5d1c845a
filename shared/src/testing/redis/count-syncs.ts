// Tests only: counts how often a process has synced a file to the disk, by tracing its system calls.
// Guarantees: only syncs that have returned count, and one that returned before an answer is counted by the time that
// answer is there: the tracer writes its line before it lets the process go on. `stop` leaves the process running, and
// no tracer.
import { spawn, spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { waitFor } from "../wait-for.js";

export interface SyncCount {
  /** So far. */
  readonly count: () => number;
  readonly stop: () => Promise<void>;
}

/** Whether this machine has strace, or must have it. */
export const tracesSyncs =
  process.platform === "linux" &&
  (process.env["PETREL_REQUIRE_STRACE"] === "1" || spawnSync("strace", ["-V"]).status === 0);

/**
 * @param file for the tracer's output
 * @throws Error if strace is missing, or may not trace the process
 */
export async function countSyncs(pid: number, file: string): Promise<SyncCount> {
  const tracer = spawn("strace", ["-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", file, "-p", `${pid}`], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  let isOver = false;
  tracer.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const ended = new Promise<void>((resolve) => {
    tracer.once("error", (error) => resolve(void (said += error.message)));
    tracer.once("close", () => resolve());
  });
  void ended.then(() => (isOver = true));
  await waitFor(() => isOver || isTraced(pid), { what: "strace to attach" });
  if (isOver) throw new Error(`strace cannot trace: ${said}`);
  return {
    // "fdatasync(11) = 0", or "<... fdatasync resumed>) = 0" if another thread came in between.
    count: () => readFileSync(file, "utf8").match(/\bf(?:data)?sync\b.*\) += 0$/gm)?.length ?? 0,
    stop: async () => {
      tracer.kill("SIGTERM");
      await ended;
    },
  };
}

/** All of its threads: some servers sync in a separate one. */
function isTraced(pid: number): boolean {
  return readdirSync(`/proc/${pid}/task`).every(
    (thread) => !/^TracerPid:\t0$/m.test(readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8")),
  );
}
