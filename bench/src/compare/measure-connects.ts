// Bench: connections that come, are welcome, and go, again and again.
// Guarantees: with what the server has seen before (the same users with the same tokens); what a connection costs after
// it has gone is part of it.
import { userOf } from "../contenders/contender.js";
import { readCpu } from "../process-cpu.js";
import { startSubscribers, type Subscribers } from "../subscribers/start-subscribers.js";
import type { WorkloadFigures } from "./figures.js";
import { inRounds } from "./in-rounds.js";
import { manyRounds, userEntrances, type CompareContext } from "./measure-messages.js";

const LOAD_PROCESSES = 2;
/**
 * Rounds that are not counted: V8 compiles what a node runs during its first thousands of connections, and a node that
 * serves a crowd has long done so. The same for all.
 */
const WARM_UPS = 10;
const FEW_WARM_UPS = 4;
/** What servers do once a connection has gone. */
const SETTLE_MS = 500;

export async function measureConnects({
  contenders,
  options,
  say,
}: CompareContext): Promise<WorkloadFigures> {
  const { connects } = options;
  const names = Array.from({ length: connects }, (_, i) => userOf(i));
  const opened: Subscribers[] = [];
  try {
    const competitors = [];
    for (const contender of contenders) {
      if (contender.users === undefined) continue;
      const entrances = await userEntrances(contender, names);
      const subscribers = await startSubscribers(entrances, LOAD_PROCESSES, { connects: false });
      opened.push(subscribers);
      competitors.push({
        name: contender.name,
        measure: async () => {
          const before = readCpu(contender.pids);
          const startMs = performance.now();
          await subscribers.connect();
          const seconds = (performance.now() - startMs) / 1000;
          await subscribers.leave();
          await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
          const parts = Object.fromEntries(
            [...readCpu(contender.pids)].map(([name, ns]) => [
              name,
              (ns - (before.get(name) ?? 0)) / 1000 / connects,
            ]),
          );
          const value = Object.values(parts).reduce((sum, us) => sum + us, 0);
          return { value, parts, more: { "connects/s": connects / seconds } };
        },
      });
    }
    const warmUps = options.rounds < 3 ? FEW_WARM_UPS : WARM_UPS;
    return {
      workload: "connect",
      title: `${connects} connections, there and back, by users whom the server has seen`,
      unit: "µs CPU a connection",
      contenders: await inRounds(competitors, { rounds: manyRounds(options), warmUps, say }),
    };
  } finally {
    await Promise.all(opened.map((subscribers) => subscribers.close()));
  }
}
