// Tests only: how often a process reads and writes, by the kernel's own count.
// Guarantees: needs no root and no tracer.
import { readFile } from "node:fs/promises";

export interface IoCounts {
  readonly reads: number;
  readonly writes: number;
}

/** @returns undefined where this kernel does not tell */
export async function readIo(pid: number): Promise<IoCounts | undefined> {
  const text = await readFile(`/proc/${pid}/io`, "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  const value = (name: string): number => Number(new RegExp(`^${name}: (\\d+)`, "m").exec(text)?.[1]);
  return { reads: value("syscr"), writes: value("syscw") };
}

/** What one step in twenty stays at or below: what happens beside a step only adds, and not to all of them. */
export function lowestTwentieth(figures: readonly number[]): number {
  const sorted = figures.toSorted((a, b) => a - b);
  const found = sorted[Math.floor((sorted.length - 1) / 20)];
  if (found === undefined) throw new Error("no figures");
  return found;
}
