// Tests only: whether a process still runs.
// Guarantees: one that has ended does not, even where nobody has asked how it ended: a container's first process may
// never do so for orphans.
import { readFileSync } from "node:fs";

const ENDED = "ZX";

export function isRunning(pid: number): boolean {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    // proc_pid_stat(5): the state follows the name, which may hold anything, in brackets.
    return !ENDED.includes(text.charAt(text.lastIndexOf(")") + 2));
  } catch {
    return false;
  }
}
