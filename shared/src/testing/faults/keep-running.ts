// Tests only: restarts a cluster's processes when they end, as an orchestrator does.
// Guarantees: under the same name and port; retried until ready, even without Redis; after `stop` nothing is started
// any more.
import { setTimeout as sleep } from "node:timers/promises";
import type { TestCluster } from "../cluster/start-cluster.js";
import type { ServiceProcess } from "../cluster/service-process.js";
import { waitFor } from "../wait-for.js";

export interface ProcessKeeper {
  /** Restarts so far. */
  readonly restarts: () => number;
  /** Names of those that are not ready now. */
  readonly away: () => ReadonlySet<string>;
  /** Resolves when the process of this name, which has ended or is about to, is ready again. */
  readonly back: (ended: ServiceProcess) => Promise<void>;
  /** Resolves when no start is under way. */
  readonly stop: () => Promise<void>;
}

const RETRY_MS = 250;
const BACK_DEADLINE_MS = 90_000;

export function keepRunning(
  cluster: Pick<TestCluster, "processes" | "newest" | "startAgain">,
): ProcessKeeper {
  const away = new Set<string>();
  const readyPids = new Set<number>(cluster.processes.map(({ pid }) => pid));
  const starting = new Set<Promise<void>>();
  let restarts = 0;
  let stopped = false;

  async function startUntilReady(ended: ServiceProcess): Promise<void> {
    away.add(ended.name);
    while (!stopped) {
      try {
        const started = await cluster.startAgain(ended);
        restarts++;
        readyPids.add(started.pid);
        away.delete(ended.name);
        watch(started);
        return;
      } catch {
        // It has ended at its start, or hangs: neither may keep its port.
        const failed = cluster.newest(ended.name);
        if (failed.isRunning()) failed.signal("SIGKILL");
        await failed.exited;
        await sleep(RETRY_MS);
      }
    }
  }

  function watch(running: ServiceProcess): void {
    void running.exited.then(() => {
      if (stopped) return;
      const start = startUntilReady(running).finally(() => starting.delete(start));
      starting.add(start);
    });
  }

  for (const running of cluster.processes) watch(running);
  return {
    restarts: () => restarts,
    away: () => away,
    back: async (ended) => {
      const isBack = (): boolean => {
        const { pid } = cluster.newest(ended.name);
        return pid !== ended.pid && readyPids.has(pid);
      };
      await waitFor(isBack, { what: `${ended.name} to be back`, deadlineMs: BACK_DEADLINE_MS });
    },
    stop: async () => {
      stopped = true;
      await Promise.all(starting);
    },
  };
}
