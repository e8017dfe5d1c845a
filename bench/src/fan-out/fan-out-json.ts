// Bench, fan-out: the figures for other programs.
// Guarantees: every round, not only the medians.
import { summarise } from "./fan-out-result.js";
import type { WorkloadResult } from "./run-fan-out.js";

export function fanOutJson(all: readonly WorkloadResult[]): string {
  const workloads = all.map(({ workload, title, results }) => ({
    workload,
    title,
    contenders: results.map((result) => {
      const { median, leastUs, mostUs, faults } = summarise(result);
      return {
        name: result.name,
        setUp: result.setUp,
        idleMsPerSecond: result.idleMsPerSecond,
        medianUs: median.totalUs,
        leastUs,
        mostUs,
        faults,
        rounds: result.rounds.map((round) => ({ ...round, cpuUs: Object.fromEntries(round.cpuUs) })),
      };
    }),
  }));
  return JSON.stringify({ node: process.version, at: new Date().toISOString(), workloads }, undefined, 2);
}
