// Bench: the CPU time that processes have used, by the kernel's own account.
// Guarantees: user and system time of all threads of a process, in nanoseconds; nothing is sampled.
import { readdirSync, readFileSync } from "node:fs";

/** Nanoseconds on a CPU since the process began, or 0 if it is gone. Linux only. */
export function cpuNanoseconds(pid: number): number {
  let total = 0;
  try {
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      const [onCpu = "0"] = readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8").split(" ");
      total += Number(onCpu);
    }
  } catch {
    return total;
  }
  return total;
}

export type CpuByName = ReadonlyMap<string, number>;

export function readCpu(pids: ReadonlyMap<string, number>): CpuByName {
  return new Map([...pids].map(([name, pid]) => [name, cpuNanoseconds(pid)]));
}

/** What each process used between two readings, in microseconds per message. */
export function cpuPerMessage(before: CpuByName, after: CpuByName, messages: number): Map<string, number> {
  return new Map([...after].map(([name, ns]) => [name, (ns - (before.get(name) ?? 0)) / 1000 / messages]));
}
