// chaos: what can be broken in a cluster: its processes, their links to Redis, its clients' links, and Redis.
// Guarantees: each process has a link to Redis of its own; `healAll` leaves everything whole and running.
import type { FaultProxy } from "@petrel/shared/testing/fault-proxy";
import { startFaultProxy } from "@petrel/shared/testing/fault-proxy";
import type { ProcessKeeper } from "@petrel/shared/testing/keep-running";
import type { RestartableRedis } from "@petrel/shared/testing/restartable-redis";
import type { TestCluster } from "@petrel/shared/testing/start-cluster";
import type { FaultKind, FaultTargets } from "./plan-faults.js";

/** Processes that are killed and paused, by name. */
export const victims: readonly string[] = Object.freeze([
  "auth",
  "collect-1",
  "collect-2",
  "dispatch-1",
  "dispatch-2",
  "push-node-1",
  "push-node-2",
]);
export const REDIS = "redis";

/** By what it leads to: "redis link of collect-1", "clients of push-node-1". */
export type LinkProxies = ReadonlyMap<string, FaultProxy>;

export const redisLinkOf = (name: string): string => `redis link of ${name}`;
export const clientsOf = (name: string): string => `clients of ${name}`;

export async function startRedisLinks(redisPort: number): Promise<Map<string, FaultProxy>> {
  const links = new Map<string, FaultProxy>();
  for (const name of victims) links.set(redisLinkOf(name), await startFaultProxy({ targetPort: redisPort }));
  return links;
}

export function targetsOf(links: LinkProxies): FaultTargets {
  return { processes: [...victims, REDIS], links: [...links.keys()] };
}

export interface BreakableCluster {
  readonly cluster: TestCluster;
  readonly keeper: ProcessKeeper;
  readonly redis: RestartableRedis;
  readonly links: LinkProxies;
}

/**
 * Begins a fault.
 * @returns to be called when its time is over; resolves when the target is whole again
 */
export async function beginFault(
  parts: BreakableCluster,
  kind: FaultKind,
  target: string,
): Promise<() => Promise<void>> {
  if (target === REDIS) return breakRedis(parts.redis, kind);
  const link = parts.links.get(target);
  if (link === undefined) return breakProcess(parts, kind, target);
  breakLink(link, kind);
  return async () => link.heal();
}

async function breakRedis(redis: RestartableRedis, kind: FaultKind): Promise<() => Promise<void>> {
  if (kind === "kill") {
    await redis.kill();
    return redis.startAgain;
  }
  redis.current().signal("SIGSTOP");
  return async () => redis.current().signal("SIGCONT");
}

function breakProcess(
  { cluster, keeper }: BreakableCluster,
  kind: FaultKind,
  name: string,
): () => Promise<void> {
  const running = cluster.newest(name);
  running.signal(kind === "kill" ? "SIGKILL" : "SIGSTOP");
  if (kind === "kill") return () => keeper.back(running);
  return async () => running.signal("SIGCONT");
}

function breakLink(link: FaultProxy, kind: FaultKind): void {
  switch (kind) {
    case "cut":
      return link.cut();
    case "reset":
      return link.reset();
    case "stall":
      return link.stall();
    case "deafen":
      return link.stall("toClient");
    case "slow":
      return link.slow({ latencyMs: 200, bytesPerSecond: 200_000 });
    case "kill":
    case "pause":
      throw new Error(`a link cannot ${kind}`);
  }
}
