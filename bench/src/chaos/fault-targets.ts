// chaos: what can befall a cluster: its processes, their links to Redis, its clients' links, Redis, and its users.
// Guarantees: each process has its own link to Redis; once every fault has ended, everything is whole and runs.
import { setTimeout as sleep } from "node:timers/promises";
import type { FaultProxy } from "@petrel/shared/testing/faults/fault-proxy";
import { startFaultProxy } from "@petrel/shared/testing/faults/fault-proxy";
import type { ProcessKeeper } from "@petrel/shared/testing/faults/keep-running";
import type { RestartableRedis } from "@petrel/shared/testing/redis/restartable-redis";
import { startRedis } from "@petrel/shared/testing/redis/start-redis";
import { startBusyClients } from "./busy-clients.js";
import { erasePerson } from "./erase-person.js";
import { floodUser } from "./flood-user.js";
import type { FaultTargets, PlannedFault } from "./plan-faults.js";
import type { RecordedCluster } from "./recorded-cluster.js";

/** Processes to kill, pause and stop, by name. */
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
/** Processes to stop as planned; collects come up more often, because they have the kept connections. */
const STOPPABLE: readonly string[] = [...victims, "collect-1", "collect-2", "collect-1", "collect-2"];

/** So that their connections are in use when the stop begins. */
const BUSY_BEFORE_MS = 500;

/** By what it leads to: "redis link of collect-1", "clients of push-node-1". */
export type LinkProxies = ReadonlyMap<string, FaultProxy>;

export const redisLinkOf = (name: string): string => `redis link of ${name}`;
export const clientsOf = (name: string): string => `clients of ${name}`;

export async function startRedisLinks(redisPort: number): Promise<Map<string, FaultProxy>> {
  const links = new Map<string, FaultProxy>();
  for (const name of victims) links.set(redisLinkOf(name), await startFaultProxy({ targetPort: redisPort }));
  return links;
}

export interface BreakableCluster {
  readonly run: RecordedCluster;
  readonly keeper: ProcessKeeper;
  readonly redis: RestartableRedis;
  readonly links: LinkProxies;
  /** Aborted when the run ends early. */
  readonly signal: AbortSignal;
}

export function targetsOf({ run, redis, links }: Omit<BreakableCluster, "keeper" | "signal">): FaultTargets {
  return {
    processes: [...victims, REDIS],
    links: [...links.keys()],
    stoppable: STOPPABLE,
    phoneOwners: run.phoneOwners,
    persons: run.persons,
    redis: { name: REDIS, hasClock: redis.clock !== undefined },
  };
}

/**
 * Begins a fault.
 * @returns call it when the fault's time is over; resolves when the target is whole again
 */
export async function beginFault(parts: BreakableCluster, fault: PlannedFault): Promise<() => Promise<void>> {
  const { kind, target } = fault;
  switch (kind) {
    case "kill":
    case "pause":
    case "skew":
    case "clock":
    case "replica":
      return target === REDIS ? befallRedis(parts.redis, fault) : breakProcess(parts, kind, target);
    case "stop":
      return stop(parts, target);
    case "lag":
      return lag(parts, target);
    case "erase": {
      const erased = erasePerson(parts.run, target, parts.signal);
      // Awaited when the fault's time is over; until then a rejection must not count as unhandled.
      erased.catch(() => undefined);
      return () => erased;
    }
    default: {
      const link = parts.links.get(target);
      if (link === undefined) throw new Error(`there is no ${target}`);
      breakLink(link, kind);
      return async () => link.heal();
    }
  }
}

async function befallRedis(
  redis: RestartableRedis,
  { kind, shiftMs = 0 }: PlannedFault,
): Promise<() => Promise<void>> {
  const setClock = async (): Promise<void> => redis.clock?.step(shiftMs - redis.clock.shiftMs());
  switch (kind) {
    case "kill":
      await redis.kill();
      return redis.startAgain;
    case "skew":
      await redis.kill();
      await setClock();
      return redis.startAgain;
    case "clock":
      await setClock();
      return async () => undefined;
    case "replica": {
      const replica = await startRedis({
        extraArgs: ["--replicaof", "127.0.0.1", String(redis.current().port)],
      });
      return () => replica.stop();
    }
    default:
      redis.current().signal("SIGSTOP");
      return async () => redis.current().signal("SIGCONT");
  }
}

function breakProcess(
  { run, keeper }: BreakableCluster,
  kind: "kill" | "pause" | "stop" | "skew" | "clock" | "replica",
  name: string,
): () => Promise<void> {
  const running = run.cluster.newest(name);
  if (kind === "pause") {
    running.signal("SIGSTOP");
    return async () => running.signal("SIGCONT");
  }
  running.signal(kind === "stop" ? "SIGTERM" : "SIGKILL");
  return () => keeper.back(running);
}

/** Stops a collect while business systems keep their connections to it busy. */
async function stop(parts: BreakableCluster, name: string): Promise<() => Promise<void>> {
  const { run, signal } = parts;
  const collect = run.cluster.collects.find((one) => one.name === name);
  if (collect === undefined) return breakProcess(parts, "stop", name);
  const { recorder, cluster, userNames } = run;
  const { apiKey } = cluster;
  const end = startBusyClients({ recorder, collect, apiKey, user: userNames[0] ?? "", signal });
  await sleep(BUSY_BEFORE_MS);
  const back = breakProcess(parts, "stop", name);
  return async () => {
    await end();
    await back();
  };
}

/** The phone reads nothing while much comes, and the laptop acknowledges it. */
function lag({ run, signal }: BreakableCluster, user: string): () => Promise<void> {
  const goOn = run.users.lagPhoneOf(user);
  const lagging = new AbortController();
  const flooded = floodUser(run.producer, user, AbortSignal.any([signal, lagging.signal]));
  return async () => {
    lagging.abort();
    goOn();
    await flooded;
  };
}

function breakLink(link: FaultProxy, kind: "cut" | "reset" | "stall" | "deafen" | "slow"): void {
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
  }
}
