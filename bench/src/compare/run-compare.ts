// Bench: all contenders side by side, workload after workload.
// Guarantees: a workload that fails is told and does not stop the others; nothing is left behind.
import { cpus } from "node:os";
import { findTestServer } from "@petrel/shared/testing/redis/find-test-server";
import type { Contender } from "../contenders/contender.js";
import { openContender, profiledIn } from "../contenders/open-contender.js";
import { stopAll, type Stop } from "../spawn/stop-all.js";
import type { CompareOptions, WorkloadName } from "./compare-options.js";
import type { WorkloadFigures } from "./figures.js";
import { measureBroadcast } from "./measure-broadcast.js";
import { measureConnects } from "./measure-connects.js";
import { measureDrops } from "./measure-drops.js";
import { measureIdleCluster, measureIdleConnections } from "./measure-idle.js";
import {
  measureBatched,
  measureHalfLoad,
  measureLatency,
  measureLibrary,
  measureSingle,
  type CompareContext,
} from "./measure-messages.js";
import { measureRegistered } from "./measure-registered.js";
import { measureScaling } from "./measure-scaling.js";
import { measureStorage } from "./measure-storage.js";
import { measureStorm } from "./measure-storm.js";
import { petrelVariants } from "./petrel-variants.js";

export interface Comparison {
  readonly contenders: readonly { readonly name: string; readonly setUp: string }[];
  /** What it ran on. */
  readonly machine: string;
  /** What could not take part, and why. */
  readonly leftOut: readonly string[];
  readonly workloads: readonly WorkloadFigures[];
  /** Workloads that failed as a whole. */
  readonly failed: readonly string[];
}

export async function runCompare(options: CompareOptions, say: (line: string) => void): Promise<Comparison> {
  const stops: Stop[] = [];
  const leftOut: string[] = [];
  const failed: string[] = [];
  const workloads: WorkloadFigures[] = [];
  try {
    const contenders: Contender[] = [];
    for (const open of openersOf(options)) {
      const opened = await open();
      if ("leftOut" in opened) {
        say(`left out: ${opened.leftOut}`);
        leftOut.push(opened.leftOut);
        continue;
      }
      stops.push(opened.stop);
      contenders.push(opened);
      say(`${opened.name}: ${opened.setUp}`);
    }
    let next = 1;
    const takeNumbers = (count: number): number => {
      next += count;
      return next - count;
    };
    const context = { contenders, options, say, takeNumbers };
    for (const name of options.workloads) {
      const startMs = performance.now();
      say(`\n${name}`);
      try {
        workloads.push(await measure(name, context, workloads));
      } catch (error) {
        failed.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
        say(`  failed: ${failed.at(-1)}`);
      }
      say(`  (${((performance.now() - startMs) / 1000).toFixed(0)} s)`);
    }
    return {
      contenders: contenders.map(({ name, setUp }) => ({ name, setUp })),
      machine: await describeMachine(),
      leftOut,
      workloads,
      failed,
    };
  } finally {
    await stopAll(stops);
  }
}

async function describeMachine(): Promise<string> {
  const processors = cpus();
  const { product, version } = await findTestServer(process.env);
  return `${processors.length} cores (${processors[0]?.model.trim() ?? "unknown"}), Node ${process.versions.node}, ${product} ${version}, loopback`;
}

function openersOf(options: CompareOptions) {
  const petrel = { environment: options.environment, ...profiledIn(options.profile) };
  const [first, ...others] = options.contenders.map((name) => () => openContender(name, petrel));
  const variants = petrelVariants(options);
  // Petrel stands first, the others of its kind beside it.
  return first === undefined ? variants : [first, ...variants, ...others];
}

async function measure(
  name: WorkloadName,
  context: CompareContext,
  soFar: readonly WorkloadFigures[],
): Promise<WorkloadFigures> {
  switch (name) {
    case "idle-cluster":
      return measureIdleCluster(context);
    case "idle-connections":
      return measureIdleConnections(context);
    case "single":
      return measureSingle(context);
    case "batched":
      return measureBatched(context);
    case "library":
      return measureLibrary(context);
    case "latency":
      return measureLatency(context);
    case "half-load":
      return measureHalfLoad(
        context,
        soFar.find(({ workload }) => workload === "single") ?? (await measureSingle(context)),
      );
    case "connect":
      return measureConnects(context);
    case "broadcast":
      return measureBroadcast(context);
    case "storage":
      return measureStorage(context);
    case "registered":
      return measureRegistered(context);
    case "drops":
      return measureDrops(context);
    case "scaling":
      return measureScaling(context);
    case "storm":
      return measureStorm(context);
  }
}
