// Bench: what idle clusters and idle connections take.
// Guarantees: a connection's share is what it adds: to the CPU time of the idle cluster, to the memory with half as many.
// What the first thousands of connections make a server take once is no such share; nor is what a process does once
// when it has become idle.
import { readFileSync } from "node:fs";
import { userOf, type Contender } from "../contenders/contender.js";
import { readCpu } from "../process-cpu.js";
import { startSubscribers, type Subscribers } from "../subscribers/start-subscribers.js";
import { openInspector, type Inspector } from "./collect-garbage.js";
import type { WorkloadFigures } from "./figures.js";
import { userEntrances, type CompareContext } from "./measure-messages.js";

const CLUSTER_WINDOW_MS = 3_000;
/** What a start, or connecting, has left to do. */
const SETTLE_MS = 5_000;
/** Idle clusters have idled for long: until V8 has compiled what runs once a second they take half as much again. */
const CLUSTER_SETTLE_MS = 20_000;
/**
 * Of each process the median counts. Once, at some moment of the first two minutes after it was busy, V8 cleans up a
 * process that has become idle: twice in a row, for 50 to 250 ms of CPU. A window with that in it tells nothing.
 */
const WINDOWS = 5;
const PAGE_BYTES = 4_096;
/**
 * What V8's threads take while a node's first thousands of connections come, malloc keeps: some 15 MB once, on Node 24.
 * So few come and go many times before memory is measured; the same for all.
 */
const WARM_UPS = 30;
const WARM_UP_CONNECTIONS = 100;

export async function measureIdleCluster({ contenders, options }: CompareContext): Promise<WorkloadFigures> {
  await pause(Math.min(CLUSTER_SETTLE_MS, options.idleSeconds * 1000));
  const rounds: IdleByContender[] = [];
  for (let round = 0; round < options.rounds; round++)
    rounds.push(await quietUsPerSecond(contenders, WINDOWS * CLUSTER_WINDOW_MS));
  return {
    workload: "idle-cluster",
    title: "A cluster that nobody uses",
    unit: "ms CPU a second",
    contenders: contenders.map((contender) => ({
      name: contender.name,
      rounds: rounds.map((byContender) => {
        const parts = byContender.get(contender) ?? {};
        const inMs = Object.fromEntries(Object.entries(parts).map(([name, us]) => [name, us / 1000]));
        return { value: sumOf(inMs), parts: inMs };
      }),
    })),
  };
}

export async function measureIdleConnections(context: CompareContext): Promise<WorkloadFigures> {
  const { options, say } = context;
  const { connections, idleSeconds } = options;
  const contenders = context.contenders.filter(({ users }) => users !== undefined);
  const opened: Subscribers[] = [];
  const connect = async (from: number, to: number): Promise<void> => {
    const names = Array.from({ length: to - from }, (_, i) => userOf(from + i));
    for (const contender of contenders) {
      const entrances = await userEntrances(contender, names);
      opened.push(await startSubscribers(entrances, 1));
    }
  };
  try {
    const settle = (): Promise<void> => pause(Math.min(CLUSTER_SETTLE_MS, idleSeconds * 1000));
    await Promise.all(contenders.map(warmUp));
    await settle();
    const before = await quietUsPerSecond(contenders, (idleSeconds * 1000) / 2);
    const inspectors = await openInspectors(contenders);
    const residents = async (): Promise<Resident[]> => {
      for (const inspector of inspectors) await inspector.collectGarbage();
      return contenders.map(residentBytes);
    };
    const half = Math.floor(connections / 2);
    await connect(0, half);
    await pause(SETTLE_MS);
    const halfBytes = await residents();
    await connect(half, connections);
    await pause(SETTLE_MS);
    const allBytes = await residents();
    const kilobytes = (contender: number, part: keyof Resident): number =>
      ((allBytes[contender]?.[part] ?? 0) - (halfBytes[contender]?.[part] ?? 0)) /
      (connections - half) /
      1024;
    say(`  ${connections} connections each, for ${idleSeconds} s`);
    await settle();
    // Pings and renewals are spread evenly over the seconds.
    const after = await quietUsPerSecond(contenders, idleSeconds * 1000);
    return {
      workload: "idle-connections",
      title: `${connections} connections without messages, for ${idleSeconds} s`,
      unit: "µs CPU a second and connection",
      contenders: contenders.map((contender, i) => {
        const idle = before.get(contender) ?? {};
        const parts = Object.fromEntries(
          Object.entries(after.get(contender) ?? {}).map(([name, us]) => [
            name,
            (us - (idle[name] ?? 0)) / connections,
          ]),
        );
        const more = { "KB of memory": kilobytes(i, "all"), "of these in Redis": kilobytes(i, "redis") };
        return { name: contender.name, rounds: [{ value: sumOf(parts), parts, more }] };
      }),
    };
  } finally {
    await Promise.all(opened.map((subscribers) => subscribers.close()));
  }
}

async function warmUp(contender: Contender): Promise<void> {
  const names = Array.from({ length: WARM_UP_CONNECTIONS }, (_, i) => userOf(i));
  const subscribers = await startSubscribers(await userEntrances(contender, names), 1, { connects: false });
  try {
    for (let round = 0; round < WARM_UPS; round++) {
      await subscribers.connect();
      await subscribers.leave();
    }
  } finally {
    await subscribers.close();
  }
}

/** µs of CPU a second, by process. */
type IdleByContender = ReadonlyMap<Contender, Readonly<Record<string, number>>>;

/** All at once: none has anything to do. */
async function idleUsPerSecond(contenders: readonly Contender[], forMs: number): Promise<IdleByContender> {
  const before = contenders.map(({ pids }) => readCpu(pids));
  const startMs = performance.now();
  await pause(forMs);
  const seconds = (performance.now() - startMs) / 1000;
  return new Map(
    contenders.map((contender, i) => [
      contender,
      Object.fromEntries(
        [...readCpu(contender.pids)].map(([name, ns]) => [
          name,
          (ns - (before[i]?.get(name) ?? 0)) / 1000 / seconds,
        ]),
      ),
    ]),
  );
}

/** The same, of each process the median of several windows: without what happens once. */
async function quietUsPerSecond(contenders: readonly Contender[], forMs: number): Promise<IdleByContender> {
  const windows: IdleByContender[] = [];
  while (windows.length < WINDOWS) windows.push(await idleUsPerSecond(contenders, forMs / WINDOWS));
  const median = (contender: Contender, name: string): number =>
    windows
      .map((window) => window.get(contender)?.[name] ?? 0)
      .toSorted((x, y) => x - y)
      .at(Math.floor(WINDOWS / 2)) ?? 0;
  return new Map(
    contenders.map((contender) => [
      contender,
      Object.fromEntries([...contender.pids.keys()].map((name) => [name, median(contender, name)])),
    ]),
  );
}

async function openInspectors(contenders: readonly Contender[]): Promise<Inspector[]> {
  const opened: Inspector[] = [];
  for (const pid of contenders.flatMap(({ pids }) => [...pids.values()])) {
    const inspector = await openInspector(pid);
    if (inspector !== undefined) opened.push(inspector);
  }
  return opened;
}

interface Resident {
  /** Of all its processes, Redis among them. */
  readonly all: number;
  readonly redis: number;
}

function residentBytes({ pids }: Contender): Resident {
  let all = 0;
  let redis = 0;
  for (const [name, pid] of pids) {
    try {
      const bytes = Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * PAGE_BYTES;
      all += bytes;
      if (name === "redis") redis += bytes;
    } catch {
      // It is gone; whoever counts its messages tells.
    }
  }
  return { all, redis };
}

function sumOf(parts: Readonly<Record<string, number>>): number {
  return Object.values(parts).reduce((sum, one) => sum + one, 0);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
