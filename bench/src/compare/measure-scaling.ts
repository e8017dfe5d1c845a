// Bench: Petrel with more processes of a service, side by side.
// Guarantees: the same load for each, in rounds; what it shows ends with the cores of the machine, which the publishers
// and the readers share.
import { openPetrel } from "../contenders/open-petrel.js";
import type { WorkloadFigures } from "./figures.js";
import { inRounds } from "./in-rounds.js";
import { connectUsers, singlePlan, type CompareContext } from "./measure-messages.js";

const SIZES = [
  { collects: 1, nodes: 1 },
  { collects: 2, nodes: 1 },
  { collects: 1, nodes: 2 },
  { collects: 2, nodes: 2 },
] as const;

export async function measureScaling(context: CompareContext): Promise<WorkloadFigures> {
  const { options, say } = context;
  const stops: (() => Promise<void>)[] = [];
  try {
    const competitors = [];
    for (const size of SIZES) {
      const name = `Petrel, collects: ${size.collects}, nodes: ${size.nodes}`;
      const petrel = await openPetrel({ ...size, name, environment: options.environment });
      stops.push(petrel.stop);
      const users = await connectUsers(petrel, options.users, options.ackDelayMs);
      stops.push(users.close);
      competitors.push({ name, measure: () => users.measure(singlePlan(context, users.names)) });
    }
    return {
      workload: "scaling",
      title: `One message per POST, by the number of processes`,
      unit: "µs CPU a message",
      contenders: await inRounds(competitors, { rounds: options.rounds, say }),
    };
  } finally {
    for (const stop of stops.reverse()) await stop();
  }
}
