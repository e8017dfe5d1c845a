// Bench: what things cost, out of the figures of a run.
// Guarantees: Petrel's medians, by service; a figure that the run lacks is an error that names it.
import { summarise, type RoundFigures, type WorkloadFigures } from "../compare/figures.js";
import { PETREL } from "../report/workload-table.js";

/** µs of CPU. */
export interface CostByService {
  readonly collect: number;
  readonly nodes: number;
  readonly redis: number;
  readonly dispatch: number;
}

export interface Costs {
  /** Of a message, one per POST. */
  readonly single: CostByService;
  /** Of a message in a batch. */
  readonly batched: CostByService;
  /** Of a connection, there and back. */
  readonly connect: CostByService;
  /** Of an open connection, in a second. */
  readonly idle: CostByService;
  /** Of memory, an open connection. */
  readonly connectionKb: number;
}

export function readCosts(workloads: readonly WorkloadFigures[]): Costs {
  const median = (name: string): RoundFigures => {
    const figures = workloads
      .find(({ workload }) => workload === name)
      ?.contenders.find((one) => one.name === PETREL);
    const found = figures === undefined ? undefined : summarise(figures)?.median;
    if (found === undefined) throw new Error(`no figures of Petrel for the workload ${name}`);
    return found;
  };
  const idle = median("idle-connections");
  const connectionKb = idle.more?.["KB of memory"];
  if (connectionKb === undefined) throw new Error("no figure for a connection's memory");
  return {
    single: byService(median("single")),
    batched: byService(median("batched")),
    connect: byService(median("connect")),
    idle: byService(idle),
    connectionKb,
  };
}

function byService({ parts = {} }: RoundFigures): CostByService {
  const total = (pattern: RegExp): number =>
    Object.entries(parts).reduce((sum, [name, us]) => (pattern.test(name) ? sum + Math.max(0, us) : sum), 0);
  return {
    collect: total(/^collect/),
    nodes: total(/^push-node/),
    redis: total(/^redis/),
    dispatch: total(/^dispatch/),
  };
}
