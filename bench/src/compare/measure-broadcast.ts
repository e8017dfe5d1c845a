// Bench: one topic that everybody has, as in the bench of topics, in short.
// Guarantees: every delivery is checked; the servers' own clients acknowledge nothing here.
import { faultsOf } from "../rounds/measured-round.js";
import { measureRound } from "../rounds/measure-round.js";
import { entrancesOf } from "../fan-out/run-fan-out.js";
import { oneRoom } from "../fan-out/workloads.js";
import { startSubscribers, type Subscribers } from "../subscribers/start-subscribers.js";
import type { WorkloadFigures } from "./figures.js";
import { inRounds, openOrFail } from "./in-rounds.js";
import { fewRounds, type CompareContext } from "./measure-messages.js";

const MESSAGES = 30;
const PUBLISHERS = 4;

export async function measureBroadcast(context: CompareContext): Promise<WorkloadFigures> {
  const { contenders, options, say, takeNumbers } = context;
  const room = oneRoom({ sockets: options.sockets, messages: MESSAGES, publishers: PUBLISHERS }, true);
  const opened: Subscribers[] = [];
  try {
    const competitors = [];
    for (const contender of contenders) {
      const open = async () => {
        const subscribers = await startSubscribers(await entrancesOf(contender, room.socketTopics), 1);
        opened.push(subscribers);
        return async () => {
          const plan = room.plan(takeNumbers(MESSAGES));
          const target = { side: contender, pids: contender.pids, subscribers };
          const { totalUs, cpuUs, verdict } = await measureRound(target, plan);
          return {
            value: totalUs,
            parts: Object.fromEntries(cpuUs),
            more: { "p50 ms": verdict.p50Ms, "p99 ms": verdict.p99Ms },
            faults: faultsOf(verdict),
          };
        };
      };
      competitors.push(await openOrFail(contender.name, open));
    }
    return {
      workload: "broadcast",
      title: room.title,
      unit: "µs CPU a delivery",
      contenders: await inRounds(competitors, { rounds: fewRounds(options), say }),
    };
  } finally {
    await Promise.all(opened.map((subscribers) => subscribers.close()));
  }
}
