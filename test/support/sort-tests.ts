// vitest.config -> here: which files share a worker and run beside which others, by what they start.
// Guarantees: every test file has exactly one kind; one that starts a server or a process, itself or through an import,
// never counts as pure.
import { readSources, type SourceFile } from "./repository/read-sources.js";

/**
 * pure: functions and objects, in memory. started: starts what it needs, from one Redis to clusters and browsers.
 * realtime: watches the real clock, and says so in its name.
 */
export type TestKind = "pure" | "started" | "realtime";

const starters = new Set([
  "shared/src/testing/redis/start-redis.ts",
  "shared/src/testing/cluster/start-cluster.ts",
]);

/** Paths from the repository's root, by kind. */
export function sortTests(sources: readonly SourceFile[] = readSources()): Record<TestKind, string[]> {
  const byPath = new Map(sources.map((source) => [source.path, source]));
  const kinds: Record<TestKind, string[]> = { pure: [], started: [], realtime: [] };
  for (const { path } of sources) if (path.endsWith(".test.ts")) kinds[kindOf(path, byPath)].push(path);
  return kinds;
}

function kindOf(path: string, byPath: ReadonlyMap<string, SourceFile>): TestKind {
  if (path.endsWith(".realtime.test.ts")) return "realtime";
  return startsSomething(path, byPath) ? "started" : "pure";
}

function startsSomething(path: string, byPath: ReadonlyMap<string, SourceFile>): boolean {
  const reached = new Set([path]);
  for (const file of reached) {
    for (const { specifier, isTypeOnly, file: imported } of byPath.get(file)?.imports ?? []) {
      if (isTypeOnly) continue;
      if (specifier === "node:child_process" || (imported !== undefined && starters.has(imported)))
        return true;
      if (imported !== undefined) reached.add(imported);
    }
  }
  return false;
}
