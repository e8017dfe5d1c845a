// Bench, fan-out: all contenders side by side, their rounds in turn.
// Guarantees: one contender works at a time; the first round of each is not counted; what can't take part is told.
import type { Contender, Side } from "../contenders/contender.js";
import { openContender, profiledIn } from "../contenders/open-contender.js";
import { readCpu } from "../process-cpu.js";
import { stopAll, type Stop } from "../spawn/stop-all.js";
import { startSubscribers, type Subscribers } from "../subscribers/start-subscribers.js";
import type { Entrance } from "../subscribers/raw-subscriber.js";
import type { FanOutOptions, WorkloadName } from "./fan-out-options.js";
import type { FanOutResult } from "./fan-out-result.js";
import type { MeasuredRound } from "../rounds/measured-round.js";
import { measureRound } from "../rounds/measure-round.js";
import { workloadOf, type Workload } from "./workloads.js";

export interface WorkloadResult {
  readonly workload: WorkloadName;
  readonly title: string;
  readonly results: readonly FanOutResult[];
}

const ENTRANCES_AT_A_TIME = 32;
const IDLE_MS = 2_000;

export async function runFanOut(
  options: FanOutOptions,
  say: (line: string) => void,
): Promise<WorkloadResult[]> {
  const stops: Stop[] = [];
  try {
    const contenders: Contender[] = [];
    for (const name of options.contenders) {
      const opened = await openContender(name, profiledIn(options.profile));
      if ("leftOut" in opened) {
        say(`left out: ${opened.leftOut}`);
        continue;
      }
      stops.push(opened.stop);
      contenders.push(opened);
      say(`${opened.name}: ${opened.setUp}`);
    }
    const all: WorkloadResult[] = [];
    for (const name of options.workloads) {
      const workload = workloadOf(name, options);
      say(`\n${workload.title}`);
      all.push({
        workload: name,
        title: workload.title,
        results: await runWorkload(workload, contenders, options, say),
      });
    }
    return all;
  } finally {
    await stopAll(stops);
  }
}

async function runWorkload(
  workload: Workload,
  contenders: readonly Contender[],
  { rounds, loadProcesses }: FanOutOptions,
  say: (line: string) => void,
): Promise<FanOutResult[]> {
  const targets: { readonly contender: Contender; readonly subscribers: Subscribers }[] = [];
  try {
    for (const contender of contenders) {
      const entrances = await entrancesOf(contender, workload.socketTopics);
      const subscribers = await startSubscribers(entrances, loadProcesses).catch((error: unknown) => {
        throw new Error(`${contender.name}: ${String(error)}`, { cause: error });
      });
      targets.push({ contender, subscribers });
    }
    const idle = await measureIdle(contenders);
    const found = new Map(targets.map((target) => [target, [] as MeasuredRound[]]));
    let first = 1;
    for (let round = 0; round <= rounds; round++) {
      const line: string[] = [];
      for (const target of targets) {
        const plan = workload.plan(first);
        first += plan.topics.length;
        const { contender, subscribers } = target;
        const load = { side: contender, pids: contender.pids, subscribers };
        const result = await measureRound(load, plan).catch((error: unknown) => {
          throw new Error(`${target.contender.name}: ${String(error)}`, { cause: error });
        });
        line.push(`${target.contender.name} ${result.totalUs.toFixed(1)}`);
        if (round > 0) found.get(target)?.push(result);
      }
      say(`  ${round === 0 ? "warm-up" : `round ${round}`}: ${line.join(" · ")}`);
    }
    return [...found].map(([{ contender }, results]) => ({
      name: contender.name,
      setUp: contender.setUp,
      idleMsPerSecond: idle.get(contender) ?? 0,
      rounds: results,
    }));
  } finally {
    await Promise.all(targets.map(({ subscribers }) => subscribers.close()));
  }
}

/** All at once: none has anything to do. */
async function measureIdle(contenders: readonly Contender[]): Promise<ReadonlyMap<Contender, number>> {
  const read = (): number[] =>
    contenders.map(({ pids }) => [...readCpu(pids).values()].reduce((sum, ns) => sum + ns, 0));
  const before = read();
  await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
  const after = read();
  return new Map(
    contenders.map((contender, i) => [contender, ((after[i] ?? 0) - (before[i] ?? 0)) / 1000 / IDLE_MS]),
  );
}

export async function entrancesOf(
  contender: Pick<Side, "entrance">,
  socketTopics: readonly string[],
): Promise<Entrance[]> {
  const entrances: Entrance[] = [];
  for (let i = 0; i < socketTopics.length; i += ENTRANCES_AT_A_TIME) {
    const some = socketTopics.slice(i, i + ENTRANCES_AT_A_TIME);
    entrances.push(...(await Promise.all(some.map(async (topic, j) => contender.entrance(i + j, [topic])))));
  }
  return entrances;
}
